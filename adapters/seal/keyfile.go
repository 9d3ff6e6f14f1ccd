package seal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"imapped/domain/fault"
)

// maxKeyFile bounds what is read of a key file.
const maxKeyFile = 4096

// LoadOrCreateKeyFile returns the master key that a file holds, for New. Where there is no file it creates one with a
// random key that only its owner can read; two processes that start together get the same key. A file that others can
// read is fault.Forbidden.
func LoadOrCreateKeyFile(path string) (string, error) {
	key, err := loadKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKeyFile(path); err != nil {
		return "", err
	}
	return loadKeyFile(path)
}

func loadKeyFile(path string) (string, error) {
	const op = "read the key file"
	f, err := os.Open(path)
	if err != nil {
		return "", fault.As(fault.Unavailable, op, err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "", fault.As(fault.Unavailable, op, err)
	}
	if mode := info.Mode(); !mode.IsRegular() {
		return "", fault.Newf(fault.Invalid, op, "%s is not a file", path)
	} else if mode.Perm()&0o077 != 0 {
		return "", fault.Newf(fault.Forbidden, op, "%s can be read by others (mode %04o): run chmod 600 on it",
			path, mode.Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", fault.As(fault.Unavailable, op, err)
	}
	key := strings.TrimSpace(string(b))
	if key == "" {
		return "", fault.Newf(fault.Corrupt, op, "%s is empty", path)
	}
	return key, nil
}

// createKeyFile writes a new key beside the path and gives it the name in one step, which fails for all but the first.
func createKeyFile(path string) (err error) {
	const op = "create the key file"
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return fault.As(fault.Internal, op, err)
	}
	defer func() {
		if err != nil {
			err = fault.As(fault.Unavailable, op, err)
		}
	}()
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(random))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
