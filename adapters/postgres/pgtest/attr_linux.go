package pgtest

import "syscall"

// attributes returns how a server's process runs: as another user, away from the terminal's signals, and not longer than
// the test binary, should that be killed.
func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
