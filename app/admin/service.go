package admin

import (
	"imapped/ports/clock"
	"imapped/ports/metadata"
	"imapped/ports/secrets"
	"imapped/ports/upstream"
)

// Config is what a Service works on.
type Config struct {
	Users    metadata.Users
	Accounts metadata.Accounts
	Statuses metadata.Statuses
	Mirror   metadata.Mirror
	Queue    metadata.Queue
	Sealer   secrets.Sealer
	Dialer   upstream.Dialer
	Hash     func(password string) (string, error) // of a user's password
	Clock    clock.Clock
}

// Service does what operators ask for. Its methods may be called from several goroutines.
type Service struct{ c Config }

// New returns a Service; every field of c is needed.
func New(c Config) *Service { return &Service{c: c} }
