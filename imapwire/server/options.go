package server

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// Options is how a server behaves. The zero value of every field but Sessions is a usable default.
type Options struct {
	Sessions session.Server
	// TLS is used by STARTTLS on plain listeners (which is not offered when it is nil) and by TLS listeners.
	TLS *tls.Config
	// AllowPlainAuth lets clients log in without TLS from anywhere. From loopback they always may.
	AllowPlainAuth bool
	// Disable names capabilities to switch off, for clients that mishandle them.
	Disable []string
	// ID is what ID answers, as name, value, name, value (RFC 2971). Nothing answers NIL: some clients refuse servers
	// whose vendor they know.
	ID []string
	// Hello is the text of the greeting.
	Hello string

	MaxConns      int // at the same time; default 10,000
	MaxConnsPerIP int // default 1,000; loopback is not limited
	MaxBad        int // BAD answers in a row before BYE; default 20

	PreAuth, PostAuth *syntax.Limits // default syntax.PreAuth and syntax.PostAuth
	// AppendLimit is the largest message that APPEND and REPLACE take, in octets; default 100 MiB. It takes the place of
	// PostAuth's limits for streamed literals.
	AppendLimit int64

	LoginTimeout   time.Duration // from the connection to the end of login; default 1 minute
	IdleTimeout    time.Duration // autologout (RFC 9051 section 5.4, at least 30 minutes); default 31 minutes
	CommandTimeout time.Duration // from a command's first octet to its last, and for each 64 KiB of a literal; default 1 minute
	WriteTimeout   time.Duration // for a piece of an answer that the client does not take; default 2 minutes
	KeepAlive      time.Duration // between "* OK Still here" while IDLE is silent; default 9 minutes; negative: never

	Logger *slog.Logger // default: discards
	// OnCommand hears every answered command: its metric label, its result and how long it took. May be nil.
	OnCommand func(label string, result fsm.Result, took time.Duration)
	// OnPanic hears of every recovered panic. May be nil.
	OnPanic func(value any)
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// complete returns the options with the defaults filled in, and the capabilities that are on.
func (o Options) complete() (Options, fsm.Set, error) {
	if o.Sessions == nil {
		return o, 0, errors.New("server options: Sessions is missing")
	}
	if len(o.ID)%2 != 0 {
		return o, 0, errors.New("server options: ID needs a value for every name")
	}
	caps := fsm.AllCaps
	for _, name := range o.Disable {
		c, ok := fsm.ParseCap(name)
		if !ok || c == fsm.CapImap4rev1 || c == fsm.CapLogindisabled {
			return o, 0, fault.Newf(fault.Invalid, "server options", "capability %q cannot be switched off", name)
		}
		caps = caps.Without(c)
	}
	if o.TLS == nil {
		caps = caps.Without(fsm.CapStarttls)
	}
	if !caps.Has(fsm.CapCondstore) {
		caps = caps.Without(fsm.CapQresync) // RFC 7162 section 3.2: QRESYNC implies CONDSTORE
	}
	orDefault(&o.Hello, "imapped ready")
	orDefault(&o.MaxConns, 10_000)
	orDefault(&o.MaxConnsPerIP, 1000)
	orDefault(&o.MaxBad, 20)
	orDefault(&o.LoginTimeout, time.Minute)
	orDefault(&o.IdleTimeout, 31*time.Minute)
	orDefault(&o.CommandTimeout, time.Minute)
	orDefault(&o.WriteTimeout, 2*time.Minute)
	orDefault(&o.KeepAlive, 9*time.Minute)
	if o.PreAuth == nil {
		l := syntax.PreAuth()
		o.PreAuth = &l
	}
	orDefault(&o.AppendLimit, 100<<20)
	if o.AppendLimit < 0 {
		return o, 0, errors.New("server options: AppendLimit is negative")
	}
	limits := syntax.PostAuth()
	if o.PostAuth != nil {
		limits = *o.PostAuth
	}
	limits.LiteralStream = o.AppendLimit
	limits.LiteralNonSync = max(limits.LiteralNonSync, o.AppendLimit)
	limits.Discard = max(limits.Discard, 4*o.AppendLimit) // what is too large by not too much is dropped
	o.PostAuth = &limits
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, caps, nil
}
