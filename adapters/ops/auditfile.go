package ops

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"imapped/domain/fault"
)

// AuditFile is where records are kept that are to outlive what is written to standard error: for NewAudit. Any number of
// processes may write to one path. It is opened for each line, so that all of them write to the same file after one of them
// has put a full one aside, as Path + ".1", in the place of an older one.
type AuditFile struct {
	Path string
	Max  int64        // octets from which on it is full
	Log  *slog.Logger // gets what a line could not be kept for
}

// Write adds a line durably. A failure is logged, too.
func (f *AuditFile) Write(line []byte) (int, error) {
	n, err := f.write(line)
	if err != nil {
		f.Log.Error("an audit record could not be kept", "file", f.Path, "err", err)
	}
	return n, err
}

func (f *AuditFile) write(line []byte) (int, error) {
	const op = "keep an audit record"
	file, err := f.open()
	if err == nil && f.full(file) {
		if err := f.putAside(file); err != nil { // a file that grows is better than a record that is lost
			f.Log.Error("a full audit file could not be put aside", "file", f.Path, "err", err)
		}
		if err = file.Close(); err == nil {
			file, err = f.open()
		}
	}
	if err != nil {
		return 0, fault.As(fault.Unavailable, op, err)
	}
	n, err := file.Write(line)
	return n, fault.As(fault.Unavailable, op, errors.Join(err, file.Sync(), file.Close()))
}

func (f *AuditFile) open() (*os.File, error) {
	return os.OpenFile(f.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

func (f *AuditFile) full(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Size() >= f.Max
}

// putAside renames a full file, unless another process does or has done so: who has its lock renames it, and only while the
// path names it. Nobody waits for the lock; it is free again when the file is closed.
func (f *AuditFile) putAside(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	mine, err := file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Path, f.Path+".1")
}
