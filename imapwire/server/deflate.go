package server

import (
	"compress/flate"
	"io"
	"sync"
)

// deflater compresses what the server sends (RFC 4978). Its compressor, several hundred kilobytes, is borrowed from a
// pool from the first byte of an answer to its flush: a flush ends on a byte boundary, so that another compressor can
// go on with the same stream as long as it refers to nothing from before.
type deflater struct {
	dst  io.Writer
	pool *sync.Pool // of *flate.Writer
	z    *flate.Writer
}

// newDeflaterPool returns a pool of compressors for deflater.
func newDeflaterPool() *sync.Pool {
	return &sync.Pool{New: func() any {
		z, err := flate.NewWriter(nil, flate.BestSpeed)
		if err != nil {
			panic(err) // BestSpeed is a level
		}
		return z
	}}
}

func (d *deflater) Write(p []byte) (int, error) {
	if d.z == nil {
		d.z = d.pool.Get().(*flate.Writer)
		d.z.Reset(d.dst)
	}
	return d.z.Write(p)
}

// Flush sends everything that was written and gives the compressor back.
func (d *deflater) Flush() error {
	if d.z == nil {
		return nil
	}
	err := d.z.Flush()
	d.z.Reset(nil)
	d.pool.Put(d.z)
	d.z = nil
	return err
}
