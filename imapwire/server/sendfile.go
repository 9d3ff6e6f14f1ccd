package server

import (
	"io"
	"os"
)

// sendFile sends n octets of f from off on without copying them through the program, where the system can. o.mu is
// held. f belongs to the caller alone: its position is moved.
func (o *output) sendFile(f *os.File, off, n int64) {
	o.send()
	if o.failed != nil {
		return
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		o.fail(err)
		return
	}
	for n > 0 && o.failed == nil {
		o.deadline()
		k, err := o.tcp.ReadFrom(&io.LimitedReader{R: f, N: min(n, writePiece)})
		if err == nil && k == 0 {
			err = io.ErrUnexpectedEOF
		}
		n -= k
		o.fail(err)
	}
}
