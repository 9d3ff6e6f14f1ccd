package seal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"imapped/domain/fault"
)

// Keyring is an open key file, with the key before it while that may still be needed: PATH and PATH.previous. A rotation
// that was interrupted anywhere leaves files from which both keys are read, and goes on when it is begun again.
//
// The file is locked, shared, for as long as the Keyring is open; a new key takes its place only while nobody else has it open.
// So nobody seals under a key that is about to be dropped.
type Keyring struct {
	// Current seals. Previous opens what was sealed before a rotation that has not ended; "" when there is none.
	Current, Previous string

	path string
	lock *os.File
}

// OpenKeyring opens the key file, and makes it as LoadOrCreateKeyFile does where there is none. It waits while a rotation
// puts its new key in place.
func OpenKeyring(path string) (*Keyring, error) {
	if _, err := LoadOrCreateKeyFile(path); err != nil {
		return nil, err
	}
	for {
		k, err := openLocked(path, syscall.LOCK_SH)
		if k != nil || err != nil {
			return k, err
		}
	}
}

// RotateKeyring makes a new random key the current one, or goes on with a rotation that did not end. fault.Conflict while
// another process has the file open. FinishRotation ends it.
func RotateKeyring(path string) (*Keyring, error) {
	const op = "rotate the key file"
	if _, err := LoadOrCreateKeyFile(path); err != nil {
		return nil, err
	}
	k, err := openLocked(path, syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err != nil:
		return nil, err
	case k == nil:
		return nil, fault.New(fault.Conflict, op, "another rotation is under way")
	case k.Previous != "" && k.Previous != k.Current:
		// The new key is in place; what is sealed under the old one is not known. Others may come in now.
		if err := flock(k.lock, syscall.LOCK_SH); err != nil {
			return nil, errors.Join(fault.Wrap(op, err), k.Close())
		}
		return k, nil
	}
	if err := k.replace(); err != nil {
		return nil, errors.Join(fault.Wrap(op, err), k.Close())
	}
	// The file that k has locked is the one of the previous key now. Whoever opens the new one finds both keys.
	next, err := openLocked(path, syscall.LOCK_SH)
	if next == nil && err == nil {
		err = fault.New(fault.Conflict, op, "the key file was replaced by somebody else")
	}
	return next, errors.Join(err, k.Close())
}

// replace makes a new key the current one. Each step is durable before the next; after a crash between any two the
// current key is the old or the new one, and the previous one is not lost.
func (k *Keyring) replace() error {
	next, previous := k.path+".next", k.path+".previous"
	if _, err := LoadOrCreateKeyFile(next); err != nil { // one that a crash has left is as good
		return err
	}
	if err := os.Link(k.path, previous); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.As(fault.Unavailable, "keep the old key", err)
	}
	if err := syncDir(k.path); err != nil {
		return err
	}
	if err := os.Rename(next, k.path); err != nil {
		return fault.As(fault.Unavailable, "put the new key in place", err)
	}
	return syncDir(k.path)
}

// FinishRotation drops the previous key. Whoever calls it has seen that nothing is sealed under it.
func (k *Keyring) FinishRotation() error {
	if k.Previous == "" {
		return nil
	}
	if err := os.Remove(k.path + ".previous"); err != nil {
		return fault.As(fault.Unavailable, "drop the old key", err)
	}
	k.Previous = ""
	return syncDir(k.path)
}

// Close lets go of the file.
func (k *Keyring) Close() error { return k.lock.Close() }

// openLocked opens, locks and reads the file. It returns nil when the file was replaced before it was locked.
func openLocked(path string, how int) (_ *Keyring, err error) {
	const op = "open the key file"
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.As(fault.Unavailable, op, err)
	}
	k := &Keyring{path: path, lock: f}
	defer func() {
		if k == nil || err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := flock(f, how); err != nil {
		return nil, fault.Wrap(op, err)
	}
	// Previous first: where a rotation puts a new key in place meanwhile, the comparison below tells.
	if k.Previous, err = loadKeyFile(path + ".previous"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if k.Current, err = loadKeyFile(path); err != nil {
		return nil, err
	}
	locked, err := f.Stat()
	if err != nil {
		return nil, fault.As(fault.Unavailable, op, err)
	}
	named, err := os.Stat(path)
	if err != nil {
		return nil, fault.As(fault.Unavailable, op, err)
	}
	if !os.SameFile(locked, named) {
		k = nil
		return nil, nil
	}
	return k, nil
}

// flock locks an open file. Without LOCK_NB it waits no longer than a rotation takes to put its new key in place.
func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return fault.New(fault.Conflict, "lock it", "another imapped uses it: stop the server, and wait for other commands to end")
		default:
			return fault.As(fault.Unavailable, "lock it", err)
		}
	}
}

// syncDir makes names in the file's folder durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fault.As(fault.Unavailable, "sync the folder of the key file", err)
	}
	return fault.As(fault.Unavailable, "sync the folder of the key file", errors.Join(d.Sync(), d.Close()))
}
