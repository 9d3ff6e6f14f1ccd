// Package account holds who uses the program and where their mail comes from: users, accounts, upstream endpoints.
//
// Invariants:
//  1. A user logs in; an account is one upstream endpoint of one user (DESIGN section 2).
//  2. No value here holds a password or a token in the clear: Secret is sealed bytes.
package account

import "time"

// UserID identifies a user in a store.
type UserID int64

// ID identifies an account in a store. It leads the key of every table of mail data.
type ID int64

// User is somebody who may log in.
type User struct {
	ID           UserID
	Name         string // the login name, unique, compared in lower case
	PasswordHash string // in the PHC string format ($argon2id$...)
	Disabled     bool
	Created      time.Time
}

// TLSMode says how the connection to an upstream is protected.
type TLSMode string

// The modes. Plain is for loopback and private networks only and is never chosen by default.
const (
	TLSImplicit TLSMode = "tls"
	TLSStart    TLSMode = "starttls"
	TLSPlain    TLSMode = "plain"
)

// Endpoint is where an upstream listens.
type Endpoint struct {
	Host     string
	Port     uint16
	TLS      TLSMode
	Insecure bool // accept any certificate; only by the operator's explicit wish
}

// Secret is a sealed secret: only the secrets port can open it.
type Secret struct {
	KeyID  string // which key sealed it, so that keys can be rotated
	Sealed []byte
}

// State says how an account's mirroring is doing.
type State string

// The states.
const (
	StateNew      State = "new"       // never synchronised
	StateSyncing  State = "syncing"   // a synchronisation is running
	StateIdle     State = "idle"      // in step with the upstream, waiting for news
	StateBackoff  State = "backoff"   // the upstream failed; a retry is scheduled
	StateAuthFail State = "auth"      // the upstream refuses the credentials; waits for a person
	StatePaused   State = "paused"    // paused by a person
	StateStopped  State = "stopped"   // no process owns the account
	StateThrottle State = "throttled" // the upstream asked to slow down
)

// Account is one upstream mailbox store of one user.
type Account struct {
	ID       ID
	User     UserID
	Position int    // order among the user's accounts; the lowest stands at the root
	Display  string // the name below which further accounts appear, without '/'
	Email    string // the account's own address; logging in with it shows this account alone
	Upstream Endpoint
	Auth     string // SASL mechanism or "LOGIN"; empty chooses the best offered
	Username string // the name at the upstream
	Secret   Secret // the password at the upstream; empty for an account without an upstream (a local one)
	Local    bool   // true: no upstream; the store is the only place of this mail
	Paused   bool
	Created  time.Time
}

// Status is what show-sync-status prints of an account.
type Status struct {
	State     State
	Text      string    // what is wrong, for a person; empty when nothing is
	Since     time.Time // when State was entered
	LastSync  time.Time // the end of the last complete pass; zero when there was none
	NextRetry time.Time // zero when no retry is scheduled
}

// SecretContext is what an account's Secret is bound to when it is sealed, so that sealed secrets cannot be swapped
// between accounts.
func (a Account) SecretContext() []byte { return []byte("account/" + a.Email) }
