package syncer

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// maxWhole is the size up to which a body is held whole in memory.
const maxWhole = 1 << 20

// The store commits what has arrived in groups of at most these.
const (
	groupBodies = 256
	groupBytes  = 8 << 20
	parsers     = 2
)

// arrival is a body that came whole: its bytes are in data, or in w when it is large.
type arrival struct {
	box     mailbox.ID
	uid     mailbox.UID
	claimed int64 // the size that the metadata has
	size    int64
	data    []byte
	w       blob.Writer
	content metadata.Content
	// done is called once, with nil when the body is stored. It must not block.
	done func(error)
}

// store turns arrivals into stored bodies: fragments are computed by a few workers, then blobs and metadata are
// committed in groups, while the next ones arrive. The workers run only while there is something to do, and a little longer.
type store struct {
	o *owner

	hand  sync.RWMutex // held for reading while an arrival is handed over
	ended bool         // nobody takes arrivals any more

	mu      sync.Mutex
	ctx     context.Context // of begin
	wg      sync.WaitGroup
	running bool
	in      chan *arrival // of those that run
	under   int           // arrivals that are not finished
}

func newStore(o *owner) *store { return &store{o: o} }

// begin lets it work until ctx is done; end has to be called then.
func (s *store) begin(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = ctx
}

// errStopping answers arrivals that come when the store ends.
var errStopping = fault.New(fault.Canceled, "store bodies", "stopping")

// put hands an arrival over; its done is called in any case.
func (s *store) put(ctx context.Context, a *arrival) {
	s.hand.RLock()
	defer s.hand.RUnlock()
	if s.ended {
		s.discard(a, errStopping)
		return
	}
	in := s.attend()
	select {
	case in <- a:
	case <-ctx.Done():
		s.finish(a, errStopping)
	case <-s.ctx.Done():
		s.finish(a, errStopping)
	}
}

// attend counts an arrival, and sees to it that workers run.
func (s *store) attend() (in chan *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under++
	if !s.running {
		s.running = true
		in, parsed := make(chan *arrival, 64), make(chan *arrival, groupBodies)
		s.in = in
		s.wg.Go(func() { s.run(s.ctx, in, parsed) })
	}
	return s.in
}

// storeLinger is for how long workers wait for more.
const storeLinger = 10 * time.Second

// run works until ctx is done, or nothing is to be done for a while.
func (s *store) run(ctx context.Context, in, parsed chan *arrival) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for range parsers {
		wg.Go(func() {
			for {
				select {
				case a := <-in:
					if err := s.parse(ctx, a); err != nil {
						s.finish(a, err)
						continue
					}
					select {
					case parsed <- a:
					case <-ctx.Done():
						s.finish(a, errStopping)
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case a := <-parsed:
				s.commit(ctx, s.group(parsed, a))
			case <-ctx.Done():
				return
			}
		}
	})
	look := time.NewTicker(storeLinger)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			s.drain(in, parsed)
			return
		case <-look.C:
		}
		s.mu.Lock()
		idle := s.under == 0
		s.running = !idle
		s.mu.Unlock()
		if idle {
			cancel()
			wg.Wait()
			return
		}
	}
}

// drain answers what the workers leave when the context is done.
func (s *store) drain(in, parsed chan *arrival) {
	s.hand.Lock() // whoever hands over an arrival gives up when the context is done, too
	s.ended = true
	s.hand.Unlock()
	for {
		select {
		case a := <-in:
			s.finish(a, errStopping)
		case a := <-parsed:
			s.finish(a, errStopping)
		default:
			return
		}
	}
}

// end waits for the workers. The context of begin is done, and nobody puts anything any more.
func (s *store) end() { s.wg.Wait() }

// parse computes the fragments, and makes a large body durable.
func (s *store) parse(ctx context.Context, a *arrival) (err error) {
	var r io.Reader = bytes.NewReader(a.data)
	if a.w != nil {
		r = io.NewSectionReader(a.w, 0, a.size)
	}
	a.content = metadata.Content{Mailbox: a.box, UID: a.uid, Size: a.size}
	if a.content.Fragments, err = message.Parse(r, a.size); err != nil {
		return fault.Wrap("parse message", err)
	}
	if a.w != nil {
		a.content.Blob, err = a.w.Commit(ctx)
	}
	return fault.Wrap("store body", err)
}

// group returns a with what else waits, up to the limits.
func (s *store) group(parsed chan *arrival, a *arrival) []*arrival {
	g, size := []*arrival{a}, int64(len(a.data))
	for len(g) < groupBodies && size < groupBytes {
		select {
		case next := <-parsed:
			g = append(g, next)
			size += int64(len(next.data))
		default:
			return g
		}
	}
	return g
}

// commit stores a group: the blobs, then the metadata that names them.
func (s *store) commit(ctx context.Context, group []*arrival) {
	err := s.write(ctx, group)
	for _, a := range group {
		s.finish(a, err)
	}
}

func (s *store) write(ctx context.Context, group []*arrival) error {
	var small []*arrival
	var datas [][]byte
	for _, a := range group {
		if a.w == nil {
			small = append(small, a)
			datas = append(datas, a.data)
		}
	}
	if len(datas) > 0 {
		keys, err := s.o.blobs.Put(ctx, datas...)
		if err != nil {
			return fault.Wrap("store bodies", err)
		}
		for i, a := range small {
			a.content.Blob = keys[i]
		}
	}
	contents := make([]metadata.Content, len(group))
	corrected := map[mailbox.ID]bool{}
	for i, a := range group {
		contents[i] = a.content
		if a.size != a.claimed {
			corrected[a.box] = true
		}
	}
	var err error
	if s.o.guest {
		err = s.o.m.Bodies.AddContents(ctx, s.o.account.ID, contents)
	} else {
		err = s.o.m.Bodies.StoreContents(ctx, s.o.fence, contents)
	}
	if err != nil {
		return fault.Wrap("store bodies", err)
	}
	s.o.note(func() {
		for _, a := range group {
			if b := s.o.boxes[a.box]; b != nil {
				b.bodies++
				b.came += a.size
			}
		}
	})
	for id := range corrected {
		s.o.hint(id, 0)
	}
	return nil
}

// finish ends an arrival that attend has counted.
func (s *store) finish(a *arrival, err error) {
	s.discard(a, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under--
}

// discard ends an arrival and gives back its memory.
func (s *store) discard(a *arrival, err error) {
	if a.w == nil {
		s.o.m.memory.Release(weight(a.size))
	}
	a.data = nil
	a.done(err)
}

// close lets go of a large body's file, which is removed unless it was committed. It may be the arrival's done.
func (a *arrival) close(error) {
	if a.w != nil {
		_ = a.w.Close()
	}
}

// weight is what a body held in memory costs of Config.Memory. Small ones have a floor: their fragments and
// bookkeeping cost too.
func weight(size int64) int64 { return max(size, 2<<10) }

// receive waits until there is room for a body and reads it.
func (o *owner) receive(ctx context.Context, l *link, r io.Reader, size int64) (*arrival, error) {
	if size <= maxWhole {
		if err := o.m.memory.Acquire(ctx, weight(size)); err != nil {
			return nil, err
		}
	}
	return o.read(ctx, l, r, size)
}

// read reads a body off the connection into an arrival: into memory when it is small, for which the caller has
// acquired the room, else into the blob store.
func (o *owner) read(ctx context.Context, l *link, r io.Reader, size int64) (*arrival, error) {
	a := &arrival{size: size}
	if size <= maxWhole {
		a.data = make([]byte, size)
		if _, err := io.ReadFull(r, a.data); err != nil {
			o.m.memory.Release(weight(size))
			return nil, fault.As(fault.Unavailable, "read body", err)
		}
		l.touch()
		return a, nil
	}
	w, err := o.blobs.Create(ctx)
	if err != nil {
		return nil, fault.Wrap("store body", err)
	}
	n, err := io.Copy(w, touching{r, l})
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		_ = w.Close() // it removes what was written
		return nil, fault.As(fault.Unavailable, "read body", err)
	}
	a.w = w
	return a, nil
}

// touching tells the link's watchdog of every read.
type touching struct {
	io.Reader
	l *link
}

func (t touching) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if n > 0 {
		t.l.touch()
	}
	return n, err
}

// retryAfter is how long to wait before asking again for what the upstream did not give tries times.
func retryAfter(tries int) time.Duration {
	switch {
	case tries <= 0:
		return 0
	case tries > 10:
		return 24 * time.Hour
	}
	return min(30*time.Second<<(tries-1), 24*time.Hour)
}
