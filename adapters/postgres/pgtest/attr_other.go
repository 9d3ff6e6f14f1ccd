//go:build unix && !linux

package pgtest

import "syscall"

// attributes returns how a server's process runs: as another user, and away from the terminal's signals.
func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true}
}
