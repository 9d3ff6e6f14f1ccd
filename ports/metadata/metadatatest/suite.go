// Package metadatatest is the contract suite of ports/metadata: every store of metadata passes it.
//
// Invariants:
//  1. The suite sees a store through the port's interfaces only, as the application does.
//  2. The random test prints its seed; IMAPPED_SEED runs that one again.
package metadatatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// Store is everything that a store of metadata implements.
type Store interface {
	metadata.Users
	metadata.Accounts
	metadata.AccountReader
	metadata.Logins
	metadata.Secrets
	metadata.Statuses
	metadata.Leases
	metadata.NodeLeases
	metadata.Owners
	metadata.Mailboxes
	metadata.Messages
	metadata.Mirror
	metadata.Bodies
	metadata.Edits
	metadata.Folders
	metadata.Queue
	metadata.Undo
	metadata.References
	metadata.Installation
}

// Harness is one empty store under test. The maker closes it when the test ends.
type Harness struct {
	Store Store
	// Reopen closes the store and opens it again on the same data. Nil: the store cannot.
	Reopen func(t *testing.T) Store
}

// Run runs the suite. open makes a fresh, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"installation", testInstallation},
		{"users", testUsers},
		{"accounts", testAccounts},
		{"logins", testLogins},
		{"reseal", testReseal},
		{"delete account", testDeleteAccount},
		{"statuses", testStatuses},
		{"leases", testLeases},
		{"leases of a node", testNodeLeases},
		{"acquirable accounts", testAcquirable},
		{"races for leases", testLeaseRaces},
		{"owners", testOwners},
		{"queues", testQueues},
		{"fences", testFences},
		{"mailboxes", testMailboxes},
		{"mailbox names", testMailboxNames},
		{"uidvalidity", testUIDValidity},
		{"rename", testRename},
		{"claim recent", testClaimRecent},
		{"apply new", testApplyNew},
		{"apply known", testApplyKnown},
		{"apply flags", testApplyFlags},
		{"apply expunge", testApplyExpunge},
		{"apply reset and rebind", testApplyRebind},
		{"apply order", testApplyOrder},
		{"apply checkpoint", testApplyCheckpoint},
		{"apply is all or nothing", testApplyAtomic},
		{"changes", testChanges},
		{"identities", testIdentities},
		{"threads", testThreads},
		{"contents", testContents},
		{"many contents", testManyContents},
		{"size correction", testSizeCorrection},
		{"pending", testPending},
		{"drop content", testDropContent},
		{"add contents", testAddContents},
		{"edit flags", testEditFlags},
		{"unchanged since", testUnchangedSince},
		{"queue of flags", testFlagQueue},
		{"flags again", testFlagsAgain},
		{"parked flags", testParkedFlags},
		{"many flags", testManyFlags},
		{"add messages", testAddMessages},
		{"copy messages", testCopyMessages},
		{"move messages", testMoveMessages},
		{"remove messages", testRemoveMessages},
		{"quota", testQuota},
		{"quota of edits at the same time", testQuotaConcurrent},
		{"usage of absurd sizes", testAbsurdUsage},
		{"cancel placements", testCancelPlacement},
		{"move what was sent", testMoveSent},
		{"move from a deleted mailbox", testMoveFromDeleted},
		{"local account", testLocal},
		{"intend", testIntend},
		{"settle", testSettle},
		{"queue ids", testIDsRise},
		{"rebase", testRebase},
		{"rebind departed", testRebindDeparted},
		{"create mailbox", testCreateMailbox},
		{"subscribe", testSubscribe},
		{"delete mailbox", testDeleteMailbox},
		{"rename mailboxes", testRenameMailboxes},
		{"rename subscribed mailboxes", testRenameSubscribed},
		{"mailbox lost", testMailboxLost},
		{"retry", testRetry},
		{"discard", testDiscard},
		{"discard changes of mailboxes", testDiscardMailboxes},
		{"retained", testRetained},
		{"deltas of edits", testEditDeltas},
		{"not found", testNotFound},
		{"canceled", testCanceled},
		{"nested calls", testNestedCalls},
		{"readers beside a writer", testConcurrent},
		{"model", testModel},
		{"model of edits", testEdits},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// now is the suite's present. Stores keep it to the nanosecond.
var now = time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC)

// fixture is a store with a user, an account, its lease and a mailbox INBOX.
type fixture struct {
	Store
	t     *testing.T
	ctx   context.Context
	user  account.User
	acc   account.Account
	fence metadata.Fence
	inbox mailbox.ID
}

func newFixture(t *testing.T, h Harness) *fixture {
	t.Helper()
	f := &fixture{Store: h.Store, t: t, ctx: t.Context()}
	var err error
	f.user, err = f.CreateUser(f.ctx, account.User{Name: "ann", Created: now})
	f.ok(err)
	f.acc, err = f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "ann@example.org"))
	f.ok(err)
	f.fence, err = f.Acquire(f.ctx, f.acc.ID, "node-1", now, time.Minute)
	f.ok(err)
	f.inbox = f.create("INBOX")
	return f
}

func sampleAccount(user account.UserID, email string) account.Account {
	return account.Account{
		User: user, Display: "at " + email, Email: email,
		Upstream: account.Endpoint{Host: "imap.example.org", Port: 993, TLS: account.TLSImplicit, Insecure: true},
		Auth:     "PLAIN", Username: email,
		Secret: account.Secret{KeyID: "k1", Sealed: []byte{0, 1, 2}}, Created: now,
	}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("unexpected error: %v", err)
	}
}

// fails checks that err is of the kind.
func (f *fixture) fails(err error, kind fault.Kind) {
	f.t.Helper()
	if !fault.Is(err, kind) {
		f.t.Fatalf("error %v, want one of the kind %q", err, kind)
	}
}

// create makes a mailbox that exists upstream under the same name.
func (f *fixture) create(name string) mailbox.ID {
	f.t.Helper()
	m, err := f.SaveMailbox(f.ctx, f.fence, metadata.Mirrored{
		Info: mailbox.Info{Name: name}, Upstream: metadata.Upstream{Name: name, Delimiter: '/'},
	})
	f.ok(err)
	return m.ID
}

// apply applies an update of a mailbox.
func (f *fixture) apply(id mailbox.ID, u metadata.Update) metadata.Applied {
	f.t.Helper()
	u.Mailbox, u.Now = id, now
	done, err := f.Apply(f.ctx, f.fence, u)
	f.ok(err)
	return done
}

// add adds messages with the upstream UIDs.
func (f *fixture) add(id mailbox.ID, upstream ...uint32) []mailbox.UID {
	f.t.Helper()
	msgs := make([]metadata.NewMessage, len(upstream))
	for i, up := range upstream {
		msgs[i] = sample(up)
	}
	return f.apply(id, metadata.Update{New: msgs}).UIDs
}

func (f *fixture) info(id mailbox.ID) mailbox.Info {
	f.t.Helper()
	m, err := f.Mailbox(f.ctx, f.acc.ID, id)
	f.ok(err)
	return m
}

func (f *fixture) changes(id mailbox.ID, since mailbox.ModSeq) mailbox.Delta {
	f.t.Helper()
	d, err := f.Changes(f.ctx, f.acc.ID, id, since)
	f.ok(err)
	return d
}

// sample is a message that differs by its upstream UID.
func sample(up uint32) metadata.NewMessage {
	return metadata.NewMessage{
		Upstream: up, Size: 1000 + int64(up), Date: 1_700_000_000 + int64(up), Zone: -90,
		Identity: message.Identity{Email: oid("email", int(up)), MessageID: oid("msgid", int(up))},
	}
}

// oid returns an object id that is different for different arguments.
func oid(kind string, n int) (id mailbox.ObjectID) {
	copy(id[:], fmt.Sprintf("%-6.6s%010d", kind, n))
	return id
}

// body returns a content that differs by n.
func body(id mailbox.ID, uid mailbox.UID, size int64, n int) metadata.Content {
	part := func(name string) []byte { return fmt.Appendf(nil, "%s\x00\r\n%d", name, n) }
	return metadata.Content{
		Mailbox: id, UID: uid, Blob: blob.Key{byte(n), byte(n >> 8), 0xff}, Size: size,
		Fragments: message.Fragments{
			Envelope: part("envelope"), Body: part("body"), BodyStructure: part("structure"),
			Headers: part("headers"), Preview: part("preview"), Parts: part("parts"),
		},
	}
}

// The flag sets that tests use.
var (
	none = flag.Set{}
	seen = flag.Make(flag.Seen)
	work = flag.Make(flag.Seen|flag.Deleted, "$Work", "later")
)
