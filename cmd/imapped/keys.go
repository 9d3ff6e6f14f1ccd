package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"imapped/adapters/seal"
	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// masterKeys is what upstream secrets, and users' data keys, are sealed under: current, and what opens older ones.
type masterKeys struct {
	current string
	old     []string
	ring    *seal.Keyring // the open key file; nil where there is none
}

// close lets go of the key file.
func (k *masterKeys) close() error {
	if k == nil || k.ring == nil {
		return nil
	}
	return k.ring.Close()
}

// keyFile is the path of the key file of a data directory.
func keyFile(conf *config.Config) string { return filepath.Join(conf.Data, "key") }

// openKeys returns the master keys. The configured one seals; without it the key file does. All the others that can be
// found only open, so that moving from one to another loses nothing before rotate-key has done its work.
func openKeys(conf *config.Config) (*masterKeys, error) {
	k := &masterKeys{current: conf.MasterKey.Reveal()}
	if conf.PreviousMasterKey.IsSet() {
		k.old = append(k.old, conf.PreviousMasterKey.Reveal())
	}
	path := keyFile(conf)
	if k.current != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return k, nil
		}
	}
	ring, err := seal.OpenKeyring(path)
	if err != nil {
		return nil, err
	}
	return k.with(ring), nil
}

// with adds the keys of the key file.
func (k *masterKeys) with(ring *seal.Keyring) *masterKeys {
	k.ring = ring
	if k.current == "" {
		k.current = ring.Current
	} else {
		k.old = append(k.old, ring.Current)
	}
	if ring.Previous != "" {
		k.old = append(k.old, ring.Previous)
	}
	return k
}

type rotateKeyCmd struct {
	dataFlags
}

// Run seals every upstream secret, and every user's data key, under the current master key, which it makes first where the key
// file holds it and no other key is configured.
func (c rotateKeyCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	if err := makeData(conf); err != nil {
		return err
	}
	byFile := !conf.MasterKey.IsSet() && !conf.PreviousMasterKey.IsSet()
	var keys *masterKeys
	var err error
	if byFile {
		var ring *seal.Keyring
		if ring, err = seal.RotateKeyring(keyFile(conf)); err == nil {
			keys = (&masterKeys{}).with(ring)
		}
	} else {
		keys, err = openKeys(conf)
	}
	if err != nil {
		return err
	}
	in, err := openWith(ctx, conf, keys, logger(conf))
	if err != nil {
		return err
	}
	return errors.Join(in.rotate(ctx, byFile, out), in.close())
}

func (in *instance) rotate(ctx context.Context, byFile bool, out output) error {
	fresh, err := seal.New(in.keys.current)
	if err != nil {
		return err
	}
	done, err := in.admin.Reseal(ctx, in.store, fresh)
	if err != nil {
		return errors.Join(fault.New(fault.KindOf(err), "rotate key",
			"not all secrets are sealed under the new key yet; every key that was there still is, and the command can be run again"), err)
	}
	if err := say(out, "%d of %d upstream secrets were sealed anew; all are sealed under key %s now.\n",
		done.Changed, done.Accounts, fresh.KeyID()); err != nil {
		return err
	}
	if done.DataKeys > 0 {
		if err := say(out, "%d of %d keys of users' messages were sealed anew; all are sealed under it, too.\n", done.Renewed, done.DataKeys); err != nil {
			return err
		}
	}
	if byFile {
		return in.keys.ring.FinishRotation()
	}
	if in.conf.PreviousMasterKey.IsSet() {
		err = say(out, "ENCRYPTION_MASTER_KEY_PREVIOUS is not needed any more.\n")
	}
	if in.conf.MasterKey.IsSet() && in.keys.ring != nil {
		err = errors.Join(err, say(out, "The key file %s is not needed any more.\n", keyFile(in.conf)))
	}
	return errors.Join(err, in.tellServer(ctx))
}

// createFirst creates the user that the configuration names, where there is none of that name.
func (in *instance) createFirst(ctx context.Context) error {
	b := in.conf.Bootstrap
	if b.Username == "" {
		return nil
	}
	created, err := in.admin.Bootstrap(ctx, b.Username, []byte(b.Password.Reveal()), b.PasswordHash.Reveal())
	if created {
		in.log.Info("created the first user", "user", b.Username)
	}
	return err
}
