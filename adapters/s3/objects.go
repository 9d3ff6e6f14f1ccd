package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	// slowest is the rate in bytes per second below which a transfer counts as failed.
	slowest = 256 << 10
	// partSize is the length of a part of an upload, and the size up to which there is only one.
	partSize = 8 << 20
	// parts is how many parts of one blob are under way at a time.
	parts = 4
	// pageSize is how many objects one answer lists: the protocol's limit.
	pageSize = 1000
)

// bucket makes requests. A Store and those of its users share it.
type bucket struct {
	client  *awss3.Client
	name    *string
	timeout time.Duration
	slots   chan struct{} // bounds what is under way besides reading
}

// version tells two writings of an object apart.
type version struct {
	etag string
	time time.Time // when it was written, by the store's clock
}

// found is what is known of an object without its bytes.
type found struct {
	version
	size int64
}

// within returns a context for a request that carries n bytes, all attempts included.
func (b *bucket) within(ctx context.Context, n int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 3*b.timeout+time.Duration(n/slowest)*time.Second)
}

// enter waits until another request may be made; leave is called after it.
func (b *bucket) enter(ctx context.Context) error {
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *bucket) leave() { <-b.slots }

// each calls fn for 0 to n-1, several at a time, and waits for all. The first error ends the others and is returned.
func (b *bucket) each(ctx context.Context, n, atOnce int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(n, atOnce) {
		all.Go(func() {
			for i := range next {
				err := b.enter(ctx)
				if err == nil {
					err = fn(ctx, i)
					b.leave()
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// put writes an object; with fresh only where there is none (see isThere and isRace).
func (b *bucket) put(ctx context.Context, name string, body io.ReadSeeker, size int64, fresh bool) error {
	ctx, cancel := b.within(ctx, size)
	defer cancel()
	in := &awss3.PutObjectInput{Bucket: b.name, Key: &name, Body: body, ContentLength: &size}
	if fresh {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := b.client.PutObject(ctx, in)
	return err
}

// body returns a reader of a part of what is uploaded; each is for one goroutine.
type body func(off, n int64) (io.ReadSeeker, error)

// putParts writes a large object in parts. What a failure leaves is taken away.
func (b *bucket) putParts(ctx context.Context, name string, body body, size int64, fresh bool) (err error) {
	begin, cancel := b.within(ctx, 0)
	defer cancel()
	up, err := b.client.CreateMultipartUpload(begin, &awss3.CreateMultipartUploadInput{Bucket: b.name, Key: &name})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// Where this fails too, the bucket's lifecycle rule for incomplete uploads takes care of it.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
			defer cancel()
			_, _ = b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{
				Bucket: b.name, Key: &name, UploadId: up.UploadId,
			})
		}
	}()
	done := make([]types.CompletedPart, (size+partSize-1)/partSize)
	err = b.each(ctx, len(done), parts, func(ctx context.Context, i int) error {
		off := int64(i) * partSize
		n := min(partSize, size-off)
		part, err := body(off, n)
		if err != nil {
			return err
		}
		ctx, cancel := b.within(ctx, n)
		defer cancel()
		done[i].PartNumber = aws.Int32(int32(i + 1))
		out, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: b.name, Key: &name, UploadId: up.UploadId, PartNumber: done[i].PartNumber, Body: part, ContentLength: &n,
		})
		if err == nil {
			done[i].ETag = out.ETag
		}
		return err
	})
	if err != nil {
		return err
	}
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: b.name, Key: &name, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}
	if fresh {
		in.IfNoneMatch = aws.String("*")
	}
	finish, cancel := b.within(ctx, size) // some stores put the parts together byte by byte
	defer cancel()
	_, err = b.client.CompleteMultipartUpload(finish, in)
	if isForgotten(err) {
		// The answer to an earlier attempt was lost.
		if f, headErr := b.head(ctx, name); headErr == nil && f.size == size {
			return nil
		}
	}
	return err
}

// head looks at an object.
func (b *bucket) head(ctx context.Context, name string) (found, error) {
	ctx, cancel := b.within(ctx, 0)
	defer cancel()
	out, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: b.name, Key: &name})
	if err != nil {
		return found{}, err
	}
	return found{version{aws.ToString(out.ETag), aws.ToTime(out.LastModified)}, aws.ToInt64(out.ContentLength)}, nil
}

// get asks for n bytes from off on, of one version of the object, or of any when that is "". The caller ends ctx when it
// has closed the body.
func (b *bucket) get(ctx context.Context, name, etag string, off, n int64) (f found, body io.ReadCloser, err error) {
	in := &awss3.GetObjectInput{Bucket: b.name, Key: &name, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))}
	if etag != "" {
		in.IfMatch = &etag
	}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return f, nil, err
	}
	f = found{version: version{aws.ToString(out.ETag), aws.ToTime(out.LastModified)}}
	var first, last int64
	if _, err := fmt.Sscanf(aws.ToString(out.ContentRange), "bytes %d-%d/%d", &first, &last, &f.size); err != nil || first != off {
		return f, nil, errors.Join(errors.New("the object store did not say which range it sent"), out.Body.Close())
	}
	return f, out.Body, nil
}

// list yields the objects whose names begin with prefix and come after a name, if one is given, a page after another.
func (b *bucket) list(ctx context.Context, prefix, after string) iter.Seq2[types.Object, error] {
	return func(yield func(types.Object, error) bool) {
		in := &awss3.ListObjectsV2Input{Bucket: b.name, Prefix: &prefix, MaxKeys: aws.Int32(pageSize)}
		if after != "" {
			in.StartAfter = &after
		}
		for {
			page, err := b.page(ctx, in)
			if err != nil {
				yield(types.Object{}, err)
				return
			}
			for _, o := range page.Contents {
				if !yield(o, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			if aws.ToString(page.NextContinuationToken) == "" {
				yield(types.Object{}, errors.New("the object store did not say how its listing goes on"))
				return
			}
			in.ContinuationToken = page.NextContinuationToken
		}
	}
}

func (b *bucket) page(ctx context.Context, in *awss3.ListObjectsV2Input) (*awss3.ListObjectsV2Output, error) {
	ctx, cancel := b.within(ctx, 0)
	defer cancel()
	return b.client.ListObjectsV2(ctx, in)
}

// remove deletes an object.
func (b *bucket) remove(ctx context.Context, name string) error {
	ctx, cancel := b.within(ctx, 0)
	defer cancel()
	_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: b.name, Key: &name})
	return err
}

// removeOnce deletes objects with one request that is never repeated. After an error the store may still be at it.
func (b *bucket) removeOnce(ctx context.Context, names []string) (kept []types.Error, err error) {
	ids := make([]types.ObjectIdentifier, len(names))
	for i := range names {
		ids[i].Key = &names[i]
	}
	out, err := b.client.DeleteObjects(ctx, &awss3.DeleteObjectsInput{
		Bucket: b.name, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},
	}, func(o *awss3.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, err
	}
	return out.Errors, nil
}

// random returns a name that nobody else chooses.
func random() string { return rand.Text() }

// pause waits before the attempt n, counted from 0, of something that is tried again.
func pause(ctx context.Context, n int) error {
	t := time.NewTimer(backoff(n))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
