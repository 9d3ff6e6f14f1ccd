// Package transfer is the port through which everything that one metadata store holds is copied into an empty one of another
// kind, nothing being seen by anybody until all of it is there.
//
// Invariants:
//  1. A value of a row is an int64 (booleans are 0 and 1), a string (UTF-8 without NUL) or a []byte (object ids have 16
//     bytes). Tables and columns have the names of the target.
//  2. A Source covers its whole schema and a Sink fills its whole schema: a table or a column that one of them has and the
//     other does not know is fault.Internal before anything is copied. So none is dropped silently.
//  3. While a Source is open nobody writes to what it reads: the same position always gives the same rows.
//  4. What a Sink's Write took is durable together with the position after it: a crash repeats nothing and loses nothing.
//  5. Rows of tables that are Last name users, accounts and mailboxes: without them nobody sees the others. They come into
//     the target in one transaction, with the mark that the transfer has ended.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
)

// Table describes a table that is transferred.
type Table struct {
	Name    string
	Columns []string // in the order of a row's values
	Last    bool     // it is written in Sink.Finish
}

// Position is where the rows of a table are read on; nil is their beginning. Only the Source knows what it means.
type Position []byte

// Batch is rows of one table that follow one another.
type Batch struct {
	Table string
	Rows  [][]any
	Next  Position // after them
}

// Origin says what a Source is.
type Origin struct {
	ID    string // of the installation, for ever
	State string // another one whenever something of the installation may have changed
}

// Source is a store that is read, in a state in which nobody writes to it. One goroutine uses it.
type Source interface {
	Origin(ctx context.Context) (Origin, error)
	// Tables returns the tables in an order in which they can be written.
	Tables() []Table
	// Count returns about how many rows a table has.
	Count(ctx context.Context, table string) (int64, error)
	// Read returns the rows of a table from a position on, at most limit of them and about maxBytes bytes; none at the end.
	Read(ctx context.Context, table string, from Position, limit, maxBytes int) (Batch, error)
	// Sequences returns, by table, the highest id that was ever given to a row.
	Sequences(ctx context.Context) (map[string]int64, error)
}

// Bodies lists the blobs that a Source names.
type Bodies interface {
	// Bodies calls fn for each message whose body is stored, and for each removed one that can be put back, in any order. A
	// connection to the database is held meanwhile; the Source must not be used.
	Bodies(ctx context.Context, fn func(Body) error) error
}

// Body is a blob and who names it.
type Body struct {
	Account  account.ID
	Mailbox  mailbox.ID  // 0: the message was removed
	Name     string      // of the mailbox
	UID      mailbox.UID // 0: the message was removed
	Blob     blob.Key
	Upstream bool // the upstream has the message, so that its body can be fetched again
}

// Writer takes rows, and gives them back to be compared.
type Writer interface {
	// Write adds the rows of a batch.
	Write(ctx context.Context, b Batch) error
	// Rows calls fn for every row of a table, in any order. fn must not wait for a network; the row is valid during the call.
	Rows(ctx context.Context, table string, fn func(row []any) error) error
}

// Sink is an empty store that is filled. Its Write is for tables that are not Last, and commits; between a failure of any
// kind and the next Begin it is not used. One goroutine uses it.
type Sink interface {
	Writer
	// Begin begins a transfer, or goes on with one that did not end.
	Begin(ctx context.Context, s Start) (Progress, error)
	// Finish writes the tables that are Last: fn does, into a Writer that does not commit. If it returns nil, everything
	// is there for everybody when Finish has returned nil; else nothing of this is.
	Finish(ctx context.Context, e End, fn func(Writer) error) error
	// Spoil notes that what was copied is not right: the next Begin begins anew.
	Spoil(ctx context.Context) error
}

// Start says what is transferred.
type Start struct {
	Origin
	Tables []Table
	// Known is the Progress.ID of the transfer by which the Source was transferred before, or nearly so; empty: it never was.
	// Another Sink than that refuses with fault.Conflict: the same mail would be in two places that both write to the
	// upstream.
	Known string
}

// Progress is how far a transfer is.
type Progress struct {
	ID string // of this transfer; no other has it
	// Anew says that what an earlier attempt copied was thrown away, as the Source has changed since.
	Anew  bool
	Table string    // what was written last; empty: nothing
	Next  Position  // where that is read on
	Ended time.Time // when the transfer ended; zero: it has not
}

// End is what Finish does besides.
type End struct {
	Now       time.Time
	Sequences map[string]int64 // as of the Source: ids of rows come after them
	// Lost are messages without a body from now on, so that it is fetched from the upstream.
	Lost []Body
}

// Hash returns a hash of a row's values.
func Hash(row []any) [sha256.Size]byte {
	var b []byte
	text := func(kind byte, n int) {
		b = binary.BigEndian.AppendUint64(append(b, kind), uint64(n))
	}
	for _, v := range row {
		switch v := v.(type) {
		case int64:
			text('i', int(v))
		case string:
			text('s', len(v))
			b = append(b, v...)
		case []byte:
			text('b', len(v))
			b = append(b, v...)
		}
	}
	return sha256.Sum256(b)
}
