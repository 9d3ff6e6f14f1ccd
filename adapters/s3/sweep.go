package s3

import (
	"bytes"
	"context"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/clock"
)

const (
	// deleteMax is how many blobs one deletion looks at.
	deleteMax = 500
	// deleteTime is how long a deletion may take, from its marker on.
	deleteTime = 30 * time.Second
	// markerLife is how long a marker counts.
	markerLife = 45 * time.Second
	// markerStale is the age, by two clocks, from which on a marker is that of a process that died.
	markerStale = markerLife + spared - fresh
)

// Keys implements blob.Sweeper. A time may be earlier than the last Put by as much as such an object counts as fresh;
// Delete allows for it. The order is that of the names. Where it is that of the keys too, what is outside is not asked for.
func (s *Store) Keys(ctx context.Context, from, to blob.Key) iter.Seq2[blob.Stored, error] {
	const op = "list blobs"
	return func(yield func(blob.Stored, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(blob.Stored{}, mapErr(ctx, op, err))
			return
		}
		after := ""
		if s.form.ordered() && from != (blob.Key{}) {
			first := s.object(from)
			after = first[:len(first)-1] // before the name of from, after those of nearly all lower ones
		}
		for o, err := range s.list(ctx, s.blobs(), after) {
			if err != nil {
				yield(blob.Stored{}, mapErr(ctx, op, err))
				return
			}
			key, ok := s.form.parse(strings.TrimPrefix(aws.ToString(o.Key), s.blobs()))
			if !ok {
				continue // not one of ours
			}
			if !key.Between(from, to) {
				if s.form.ordered() && bytes.Compare(key[:], to[:]) > 0 {
					return
				}
				continue
			}
			size, ok := s.form.size(aws.ToInt64(o.Size))
			if !ok {
				size = 0 // damaged, and deleted as any other when nothing names it
			}
			if !yield(blob.Stored{Key: key, Size: size, Time: aws.ToTime(o.LastModified)}, nil) {
				return
			}
		}
	}
}

// Delete implements blob.Sweeper. It gives up with fault.Conflict while another process deletes.
func (s *Store) Delete(ctx context.Context, before time.Time, keys ...blob.Key) error {
	const op = "delete blobs"
	if err := ctx.Err(); err != nil {
		return mapErr(ctx, op, err)
	}
	for len(keys) > 0 {
		n := min(len(keys), deleteMax)
		if err := s.deletion(ctx, before.Add(-spared), keys[:n]); err != nil {
			return mapErr(ctx, op, err)
		}
		keys = keys[n:]
	}
	return nil
}

// deletion deletes what is older than before.
func (s *Store) deletion(ctx context.Context, before time.Time, keys []blob.Key) (err error) {
	marker := s.deletions() + random()
	// A marker that comes late, because its writing was repeated, must not outlive the deletion's own time: the time
	// begins before it.
	began := s.now()
	within, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	if err := s.put(within, marker, bytes.NewReader(nil), 0, false); err != nil {
		return err
	}
	certain := true // nothing is under way any more
	defer func() {
		if certain {
			// Where this fails, the marker ages.
			_ = s.remove(context.WithoutCancel(ctx), marker)
		}
	}()
	for other, err := range s.running(within) {
		if err != nil {
			return err
		}
		if other != marker {
			return fault.New(fault.Conflict, "", "another process is deleting")
		}
	}
	old := make([]string, len(keys))
	err = s.each(within, len(keys), cap(s.slots), func(ctx context.Context, i int) error {
		f, err := s.head(ctx, s.object(keys[i]))
		if err == nil && f.time.Before(before) {
			old[i] = s.object(keys[i])
		}
		if isMissing(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	names := old[:0]
	for _, name := range old {
		if name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	// The context does not count the time for which the machine slept, and others have the marker for dead by now.
	if clock.Elapsed(began, s.now()) >= deleteTime {
		return fault.New(fault.Unavailable, "", "it took too long, perhaps because this machine slept")
	}
	kept, err := s.removeOnce(within, names)
	certain = err == nil
	if len(kept) > 0 {
		return fault.Newf(fault.Unavailable, "", "the object store kept %d of %d: %s", len(kept), len(names),
			aws.ToString(kept[0].Code))
	}
	return err
}

// running yields the markers of the deletions that may be running, and takes away those of processes that died.
func (s *Store) running(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range s.list(ctx, s.deletions(), "") {
			name := aws.ToString(o.Key)
			if err == nil && time.Since(aws.ToTime(o.LastModified)) > markerStale {
				_ = s.remove(ctx, name) // it does not count: it may as well stay
				continue
			}
			if !yield(name, err) || err != nil {
				return
			}
		}
	}
}

// awaitDeletions waits until no deletion is running that began before.
func (s *Store) awaitDeletions(ctx context.Context) error {
	first := map[string]time.Time{} // when each marker was first seen
	for n := 0; ; n++ {
		waiting := false
		for name, err := range s.running(ctx) {
			if err != nil {
				return err
			}
			if first[name].IsZero() {
				if n > 0 {
					continue // it began later
				}
				first[name] = time.Now()
			}
			waiting = waiting || time.Since(first[name]) < markerLife
		}
		if !waiting {
			return nil
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
}
