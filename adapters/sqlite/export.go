package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"imapped/domain/fault"
	"imapped/ports/transfer"
)

var (
	_ transfer.Source = (*Export)(nil)
	_ transfer.Bodies = (*Export)(nil)
)

// Export is a database that is read to be moved elsewhere. From OpenExport to Close it keeps all others from writing: they
// can read. One goroutine uses it.
type Export struct {
	db     *sql.DB
	c      *conn
	tables []transfer.Table
	reads  map[string]reading
}

// shape says how a table of the target is read, where that is not just the table of the same name with all its columns.
type shape struct {
	name  string
	from  string            // the table; empty: name
	omit  []string          // columns that are read by another shape
	as    map[string]string // columns that the table does not have, or not so
	alone bool              // only those of as
	last  bool
	count string // a quick query for about how many rows it has; empty: they are counted
}

// shapes returns all tables of the target, in the order in which they are written.
func shapes() []shape {
	counters := map[string]string{"account_id": "id", "uidvalidity": "uidvalidity", "mutation": "mutation"}
	// Nobody owns the account there yet; the next owner's number is above all that owners had here.
	lease := map[string]string{"account_id": "id", "owner": "''",
		"token": "(SELECT coalesce(max(l.token), 0) FROM leases l WHERE l.account_id = accounts.id)"}
	content := map[string]string{"mailbox_id": "id >> 32", "uid": "id & 4294967295"}
	return []shape{
		{name: "installation", last: true},
		{name: "users", last: true},
		{name: "accounts", omit: []string{"uidvalidity", "mutation"}, last: true},
		{name: "account_counters", from: "accounts", as: counters, alone: true, last: true},
		{name: "statuses", last: true},
		{name: "leases", from: "accounts", as: lease, alone: true, last: true},
		{name: "mailboxes", last: true},
		{name: "messages"},
		{name: "identities"},
		{name: "contents", omit: []string{"id"}, as: content, count: `SELECT coalesce(sum(bodies), 0) FROM mailboxes`},
		{name: "tombstones"},
		{name: "threads"},
		{name: "body_failures"},
		{name: "mutations"},
		{name: "departed"},
		{name: "retained"},
	}
}

// elsewhere returns the tables that no shape reads as they are, with all their columns: a column more is not moved.
func elsewhere() map[string][]string {
	return map[string][]string{
		"leases":           {"account_id", "owner", "token"}, // the token is read with the accounts
		"owners":           {"name", "expires"},              // processes here
		"goose_db_version": {"id", "version_id", "is_applied", "tstamp"},
	}
}

// column is a column of a table here.
type column struct {
	name, kind string
	key        int // its place in the primary key, from 1 on; 0: none
}

// reading is how the rows of a table of the target are read.
type reading struct {
	columns     int
	keys        int
	first, next string // from the beginning, and from a position on; the columns of the key follow those of the row
	count       string
}

// OpenExport opens the database of a store that nobody else has open for writing; fault.Unavailable when somebody writes.
// A schema that is not this program's newest is fault.Invalid, one that Export does not cover fault.Internal.
func OpenExport(ctx context.Context, path string) (*Export, error) {
	const op = "open the database to be moved"
	if err := prepare(ctx, Options{Path: path}); err != nil {
		return nil, fault.Wrap(op, err)
	}
	db, err := openDB(path, writerCacheKB, 1)
	if err != nil {
		return nil, mapErr(op, err)
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, mapErr(op, errors.Join(err, db.Close()))
	}
	e := &Export{db: db, c: newConn(c), reads: map[string]reading{}}
	if _, err = e.c.exec(ctx, "BEGIN IMMEDIATE"); err == nil {
		err = e.plan(ctx)
	}
	if err != nil {
		return nil, mapErr(op, errors.Join(err, e.Close()))
	}
	return e, nil
}

// Close lets others write again.
func (e *Export) Close() error {
	return mapErr("close the database", errors.Join(e.c.close(), e.db.Close())) // which rolls back, nothing having been written
}

// plan finds out how all tables are read.
func (e *Export) plan(ctx context.Context) error {
	schema, err := e.schema(ctx)
	if err != nil {
		return err
	}
	if err := covered(schema); err != nil {
		return err
	}
	for _, s := range shapes() {
		from := s.from
		if from == "" {
			from = s.name
		}
		t := transfer.Table{Name: s.name, Last: s.last}
		var values, key []string
		for _, c := range schema[from] {
			if !s.alone && !slices.Contains(s.omit, c.name) {
				t.Columns, values = append(t.Columns, c.name), append(values, c.name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.as)) {
			t.Columns, values = append(t.Columns, name), append(values, s.as[name])
		}
		for n := 1; ; n++ {
			i := slices.IndexFunc(schema[from], func(c column) bool { return c.key == n })
			if i < 0 {
				break
			}
			key = append(key, schema[from][i].name)
		}
		all := strings.Join(key, ", ")
		text := "SELECT " + strings.Join(slices.Concat(values, key), ", ") + " FROM " + from
		order := " ORDER BY " + all + " LIMIT ?"
		after := " WHERE (" + all + ") > (" + strings.Repeat("?, ", len(key)-1) + "?)"
		r := reading{columns: len(values), keys: len(key), first: text + order, next: text + after + order, count: s.count}
		if r.count == "" {
			r.count = "SELECT count(*) FROM " + from
		}
		e.tables, e.reads[s.name] = append(e.tables, t), r
	}
	return nil
}

// schema returns the columns of all tables.
func (e *Export) schema(ctx context.Context) (map[string][]column, error) {
	tables := map[string][]column{}
	err := e.c.each(ctx, `SELECT t.name, c.name, c.type, c.pk FROM sqlite_schema t, pragma_table_info(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY t.name, c.cid`, nil, func(scan func(...any) error) error {
		var table string
		var c column
		err := scan(&table, &c.name, &c.kind, &c.key)
		tables[table] = append(tables[table], c)
		return err
	})
	return tables, err
}

// covered fails for a table, or a column, that is not moved.
func covered(schema map[string][]column) error {
	const text = "this program does not know how to move %s"
	known := elsewhere()
	for _, s := range shapes() {
		table := s.from
		if table == "" {
			table = s.name
		}
		if schema[table] == nil {
			return fault.Newf(fault.Internal, "", text, s.name+", which is not there")
		}
		if !s.alone {
			known[table] = nil // all its columns
		}
	}
	for table, columns := range schema {
		names, ok := known[table]
		if !ok {
			return fault.Newf(fault.Internal, "", text, "the table "+table)
		}
		for _, c := range columns {
			if names != nil && !slices.Contains(names, c.name) {
				return fault.Newf(fault.Internal, "", text, table+"."+c.name)
			}
		}
	}
	return nil
}

// Tables implements transfer.Source.
func (e *Export) Tables() []transfer.Table { return e.tables }

// Count implements transfer.Source.
func (e *Export) Count(ctx context.Context, table string) (n int64, err error) {
	return n, mapErr("count "+table, e.c.one(ctx, []any{&n}, e.reads[table].count))
}

// Read implements transfer.Source.
func (e *Export) Read(ctx context.Context, table string, from transfer.Position, limit, maxBytes int) (transfer.Batch, error) {
	op := "read " + table
	b := transfer.Batch{Table: table, Next: from}
	r, ok := e.reads[table]
	if !ok {
		return b, fault.New(fault.Internal, op, "there is no such table")
	}
	key, err := keyAt(from)
	if err != nil {
		return b, fault.As(fault.Corrupt, op, err)
	}
	text := r.next
	if key == nil {
		text = r.first
	}
	size := 0
	var last []any
	err = e.c.each(ctx, text, append(key, limit), func(scan func(...any) error) error {
		values, err := valuesOf(scan, r.columns+r.keys)
		if err != nil {
			return err
		}
		row := values[:r.columns:r.columns]
		b.Rows, last = append(b.Rows, row), values[r.columns:]
		if size += weightOf(row); size >= maxBytes {
			return errFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFull) {
		return b, mapErr(op, err)
	}
	if last != nil {
		if b.Next, err = json.Marshal(last); err != nil {
			return b, fault.Wrap(op, err)
		}
	}
	return b, nil
}

// keyAt returns the key that a position is: a JSON array of numbers, and of byte strings in base64.
func keyAt(p transfer.Position) (key []any, err error) {
	if p == nil {
		return nil, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(p, &parts); err != nil {
		return nil, err
	}
	for _, part := range parts {
		var n int64
		var b []byte
		if json.Unmarshal(part, &n) == nil {
			key = append(key, n)
		} else if err := json.Unmarshal(part, &b); err == nil {
			key = append(key, b)
		} else {
			return nil, err
		}
	}
	return key, nil
}

// valuesOf reads n columns, as transfer has values.
func valuesOf(scan func(...any) error, n int) ([]any, error) {
	values, dest := make([]any, n), make([]any, n)
	for i := range values {
		dest[i] = &values[i]
	}
	if err := scan(dest...); err != nil {
		return nil, err
	}
	for i, v := range values {
		switch v := v.(type) {
		case int64:
		case []byte:
			if v == nil {
				values[i] = []byte{}
			}
		case string:
			if !utf8.ValidString(v) || strings.Contains(v, "\x00") {
				values[i] = strings.ReplaceAll(strings.ToValidUTF8(v, "\uFFFD"), "\x00", "\uFFFD")
			}
		default:
			return nil, fault.Newf(fault.Corrupt, "", "a column holds what it cannot hold (%T)", v)
		}
	}
	return values, nil
}

// weightOf returns about how many bytes a row has.
func weightOf(row []any) (n int) {
	for _, v := range row {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		default:
			n += 8
		}
	}
	return n
}

// Sequences implements transfer.Source.
func (e *Export) Sequences(ctx context.Context) (map[string]int64, error) {
	highest := map[string]int64{}
	err := e.c.each(ctx, `SELECT name, seq FROM sqlite_sequence`, nil, func(scan func(...any) error) error {
		var table string
		var id int64
		err := scan(&table, &id)
		if _, ok := e.reads[table]; ok {
			highest[table] = id
		}
		return err
	})
	return highest, mapErr("read which ids were given", err)
}

// Origin implements transfer.Source. An installation is known by its first user; its state is all rows of the tables that
// something is written to with every change of mail, with every start of a server, and with every command.
func (e *Export) Origin(ctx context.Context) (o transfer.Origin, err error) {
	const op = "tell which installation it is"
	var name string
	var created int64
	err = e.c.one(ctx, []any{&name, &created}, `SELECT name_key, created FROM users ORDER BY id LIMIT 1`)
	if err != nil && !noRow(err) {
		return o, mapErr(op, err)
	}
	first := transfer.Hash([]any{name, created})
	o.ID = hex.EncodeToString(first[:])
	sum := sha256.New()
	for _, t := range e.tables {
		if !t.Last && t.Name != "mutations" {
			continue
		}
		for b := (transfer.Batch{}); ; {
			if b, err = e.Read(ctx, t.Name, b.Next, stateRows, chunkBytes); err != nil {
				return o, fault.Wrap(op, err)
			}
			if len(b.Rows) == 0 {
				break
			}
			for _, row := range b.Rows {
				h := transfer.Hash(row)
				_, _ = sum.Write(h[:]) // never fails
			}
		}
	}
	o.State = hex.EncodeToString(sum.Sum(nil))
	return o, nil
}

const stateRows = 1000 // that are read together to tell the state

// Bodies implements transfer.Bodies.
func (e *Export) Bodies(ctx context.Context, fn func(transfer.Body) error) error {
	var raw sql.RawBytes
	for _, text := range [...]string{
		`SELECT c.account_id, b.id, b.name, m.uid, c.blob, m.up_uid > 0 FROM contents c
			JOIN mailboxes b ON b.id = c.id >> 32
			JOIN messages m ON m.account_id = c.account_id AND m.mailbox_id = b.id AND m.uid = c.id & 4294967295 ORDER BY c.id`,
		`SELECT account_id, 0, mailbox, 0, blob, 0 FROM retained ORDER BY id`,
	} {
		if err := e.c.each(ctx, text, nil, func(scan func(...any) error) error {
			var b transfer.Body
			if err := scan(&b.Account, &b.Mailbox, &b.Name, &b.UID, &raw, &b.Upstream); err != nil {
				return err
			}
			if copy(b.Blob[:], raw) != len(b.Blob) {
				return fault.New(fault.Corrupt, "", "a message's blob has no key")
			}
			return fn(b)
		}); err != nil {
			return mapErr("list the messages that are stored", err)
		}
	}
	return nil
}
