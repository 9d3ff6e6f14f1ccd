package blobfs

import (
	"errors"
	"os"
)

// syncer makes files and names durable, many at once where the system can.
type syncer interface {
	// files waits until the bytes of the files are durable.
	files(fs []*os.File) error
	// dirs waits until the names in the folders are durable.
	dirs(dirs []string) error
}

// eachSync syncs file by file: what every system can.
type eachSync struct{}

func (eachSync) files(fs []*os.File) error {
	for _, f := range fs {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (eachSync) dirs(dirs []string) error {
	var errs []error
	for _, d := range dirs {
		errs = append(errs, syncDir(d))
	}
	return errors.Join(errs...)
}
