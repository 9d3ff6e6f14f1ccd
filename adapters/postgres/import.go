package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"imapped/domain/fault"
	"imapped/ports/transfer"
)

var _ transfer.Sink = (*Import)(nil)

const (
	// importLock is the advisory lock of whoever fills a database.
	importLock = 0x696d706d6f7665
	// importPatience is how long that lock is waited for.
	importPatience = 3 * time.Second
	// importWait bounds one statement of a move: a batch that is written, a piece that is read.
	importWait = 5 * time.Minute
	// importRows is how many rows are read back together.
	importRows = 2000
)

// Import is a database that is filled from another store. One goroutine uses it; the database lets no second one in.
type Import struct {
	conn   *pgx.Conn
	tables map[string]imported
	source string // the transfer's key
}

// imported is a table that is filled.
type imported struct {
	transfer.Table
	kinds []string // of the columns, as Postgres calls them
}

// OpenImport connects to a database whose schema is the newest; fault.Invalid for another one.
func OpenImport(ctx context.Context, url string) (*Import, error) {
	const op = "open the database to be filled"
	config, err := Options{URL: url, StatementTimeout: importWait, LockTimeout: defaultLock}.config()
	if err != nil {
		return nil, err
	}
	if err := upToDate(ctx, op, url); err != nil {
		return nil, err
	}
	c := config.ConnConfig
	c.RuntimeParams["application_name"] = "imapped move"
	c.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(importWait) // the source is read meanwhile
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, mapErr(op, err)
	}
	return &Import{conn: conn}, nil
}

// Close ends the connection. What Finish did not finish stays, unseen, for the next attempt.
func (m *Import) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	return mapErr("close the database", m.conn.Close(ctx))
}

// transact runs fn in a transaction. The statements of fn are bounded by importWait together.
func (m *Import) transact(ctx context.Context, op string, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, importWait)
	defer cancel()
	return mapErr(op, pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error { return fn(ctx, tx) }))
}

// Begin implements transfer.Sink. A database that holds anything that this transfer did not bring is fault.Conflict.
func (m *Import) Begin(ctx context.Context, s transfer.Start) (p transfer.Progress, err error) {
	const op = "begin the move"
	m.tables, m.source = map[string]imported{}, s.ID
	err = m.transact(ctx, op, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		if err := m.fit(ctx, tx, s.Tables); err != nil {
			return err
		}
		var source, state string
		var begun, ended int64
		err := tx.QueryRow(ctx, `SELECT source, state, name, next, begun, ended FROM transfers`).
			Scan(&source, &state, &p.Table, &p.Next, &begun, &ended)
		p.ID = strconv.FormatInt(begun, 10)
		switch {
		case noRow(err):
			p.ID, err = m.first(ctx, tx, s)
			return err
		case err != nil:
			return err
		case source != s.ID:
			return fault.New(fault.Conflict, "", "another installation was moved into this database, or partly so: use an empty one")
		case s.Known != "" && s.Known != p.ID:
			return errElsewhere
		case ended != 0:
			p.Ended = unstamp(ended)
			return nil
		case state == s.State:
			return nil
		}
		p = transfer.Progress{ID: p.ID, Anew: true}
		if _, err := tx.Exec(ctx, `TRUNCATE `+strings.Join(m.names(), ", ")); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE transfers SET state = $1, name = '', next = ''`, s.State)
		return err
	})
	if len(p.Next) == 0 {
		p.Next = nil
	}
	return p, err
}

// theID is the table that is never empty: the id of the source takes the place of the one that the schema came with.
const theID = "installation"

// alone gets the lock of whoever fills the database, until the connection ends. It waits a little: the server may not have seen
// yet that the process ended that had it.
func alone(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true)`, milliseconds(importPatience)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(importLock))
	if stateOf(err) == lockNotAvailable {
		return fault.New(fault.Conflict, "", "another process moves something into this database now")
	}
	return err
}

// names returns the tables that are filled and were empty, quoted.
func (m *Import) names() []string {
	var all []string
	for name := range m.tables {
		if name != theID {
			all = append(all, pgx.Identifier{name}.Sanitize())
		}
	}
	slices.Sort(all)
	return all
}

// errElsewhere says that somebody else has what is to be moved.
var errElsewhere = fault.New(fault.Conflict, "",
	"this installation was moved into another database: two would change the same mail at the provider")

// first begins what was not begun before, and returns its id.
func (m *Import) first(ctx context.Context, tx pgx.Tx, s transfer.Start) (id string, err error) {
	if s.Known != "" {
		return "", errElsewhere
	}
	for _, name := range m.names() {
		var full bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM `+name+`)`).Scan(&full); err != nil {
			return "", err
		}
		if full {
			return "", fault.Newf(fault.Conflict, "", "the database is not empty (%s): what is in it is not touched; use an empty one", name)
		}
	}
	var lives bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM owners WHERE expires > `+databaseTime+`)`).Scan(&lives); err != nil {
		return "", err
	}
	if lives {
		return "", fault.New(fault.Conflict, "", "a server runs on the database: stop it")
	}
	begun := time.Now().UnixNano()
	_, err = tx.Exec(ctx, `INSERT INTO transfers (source, state, begun) VALUES ($1, $2, $3)`, s.ID, s.State, begun)
	return strconv.FormatInt(begun, 10), err
}

// ours are the tables that no transfer fills.
func ours() []string { return []string{"goose_db_version", "owners", "transfers"} }

// fit looks whether what comes is what there is place for, column by column.
func (m *Import) fit(ctx context.Context, tx pgx.Tx, tables []transfer.Table) error {
	kinds := map[string]map[string]string{}
	rows, err := tx.Query(ctx, `SELECT c.table_name::text, c.column_name::text, c.udt_name::text FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'`)
	if err != nil {
		return err
	}
	var table, name, kind string
	if _, err := pgx.ForEachRow(rows, []any{&table, &name, &kind}, func() error {
		if kinds[table] == nil {
			kinds[table] = map[string]string{}
		}
		kinds[table][name] = kind
		return nil
	}); err != nil {
		return err
	}
	for _, table := range ours() {
		delete(kinds, table)
	}
	for _, t := range tables {
		in := imported{Table: t}
		for _, name := range t.Columns {
			kind, ok := kinds[t.Name][name]
			if !ok {
				return fault.Newf(fault.Internal, "", "the database has no place for %s.%s", t.Name, name)
			}
			in.kinds = append(in.kinds, kind)
			delete(kinds[t.Name], name)
		}
		for name := range kinds[t.Name] {
			return fault.Newf(fault.Internal, "", "nothing is known of %s.%s", t.Name, name)
		}
		delete(kinds, t.Name)
		m.tables[t.Name] = in
	}
	for table := range kinds {
		return fault.Newf(fault.Internal, "", "nothing is known of %s", table)
	}
	return nil
}

// Write implements transfer.Sink.
func (m *Import) Write(ctx context.Context, b transfer.Batch) error {
	return m.transact(ctx, "write "+b.Table, func(ctx context.Context, tx pgx.Tx) error {
		if err := m.copy(ctx, tx, b); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE transfers SET name = $1, next = $2 WHERE source = $3`, b.Table, []byte(b.Next), m.source)
		return err
	})
}

// copy adds the rows of a batch.
func (m *Import) copy(ctx context.Context, tx pgx.Tx, b transfer.Batch) error {
	t := m.tables[b.Table]
	if b.Table == theID {
		if _, err := tx.Exec(ctx, `DELETE FROM installation`); err != nil {
			return err
		}
	}
	n, err := tx.CopyFrom(ctx, pgx.Identifier{b.Table}, t.Columns, pgx.CopyFromSlice(len(b.Rows), func(i int) ([]any, error) {
		return t.toDatabase(b.Rows[i])
	}))
	if err == nil && n != int64(len(b.Rows)) {
		err = fault.Newf(fault.Internal, "", "%d of %d rows were written", n, len(b.Rows))
	}
	return err
}

// toDatabase returns a row as the driver takes it.
func (t imported) toDatabase(row []any) ([]any, error) {
	values := make([]any, len(row))
	for i, v := range row {
		switch n, isNumber := v.(int64); t.kinds[i] {
		case "bool":
			if !isNumber || n&^1 != 0 {
				return nil, fault.Newf(fault.Corrupt, "", "%s.%s is neither true nor false", t.Name, t.Columns[i])
			}
			values[i] = n == 1
		case "uuid":
			b, _ := v.([]byte)
			if len(b) != 16 {
				return nil, fault.Newf(fault.Corrupt, "", "%s.%s has %d bytes instead of 16", t.Name, t.Columns[i], len(b))
			}
			values[i] = [16]byte(b)
		default:
			values[i] = v
		}
	}
	return values, nil
}

// Rows implements transfer.Sink.
func (m *Import) Rows(ctx context.Context, table string, fn func(row []any) error) error {
	op := "read " + table
	return mapErr(op, pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error { return m.read(ctx, tx, table, fn) }))
}

// read reads a table, a piece at a time.
func (m *Import) read(ctx context.Context, tx pgx.Tx, table string, fn func(row []any) error) error {
	t := m.tables[table]
	if _, err := tx.Exec(ctx, `DECLARE moved NO SCROLL CURSOR FOR SELECT `+t.list()+` FROM `+pgx.Identifier{table}.Sanitize()); err != nil {
		return err
	}
	for {
		n, err := m.piece(ctx, tx, t, fn)
		if err != nil {
			return err
		}
		if n == 0 {
			_, err := tx.Exec(ctx, `CLOSE moved`)
			return err
		}
	}
}

func (t imported) list() string {
	names := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		names[i] = pgx.Identifier{name}.Sanitize()
	}
	return strings.Join(names, ", ")
}

// piece reads the next rows of the cursor, and returns how many these are.
func (m *Import) piece(ctx context.Context, tx pgx.Tx, t imported, fn func(row []any) error) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, importWait)
	defer cancel()
	rows, err := tx.Query(ctx, fmt.Sprintf(`FETCH %d FROM moved`, importRows), pgx.QueryExecModeDescribeExec)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	values := make([]any, len(t.kinds))
	for ; rows.Next(); n++ {
		r := row{values: rows.RawValues()}
		for i, kind := range t.kinds {
			switch kind {
			case "bool", "int2", "int4", "int8":
				values[i] = r.int()
			case "text":
				values[i] = r.str()
			case "uuid", "bytea":
				values[i] = r.bytes()
			default:
				return n, fault.Newf(fault.Internal, "", "%s.%s has the unknown type %s", t.Name, t.Columns[i], kind)
			}
		}
		if err := fn(values); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// finishing is the Writer of Finish.
type finishing struct {
	*Import
	tx pgx.Tx
}

// Write implements transfer.Writer.
func (f finishing) Write(ctx context.Context, b transfer.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, importWait)
	defer cancel()
	return mapErr("write "+b.Table, f.copy(ctx, f.tx, b))
}

// Rows implements transfer.Writer.
func (f finishing) Rows(ctx context.Context, table string, fn func(row []any) error) error {
	return mapErr("read "+table, f.read(ctx, f.tx, table, fn))
}

// Finish implements transfer.Sink.
func (m *Import) Finish(ctx context.Context, e transfer.End, fn func(transfer.Writer) error) error {
	return mapErr("finish the move", pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		if err := fn(finishing{m, tx}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, importWait)
		defer cancel()
		return m.end(ctx, tx, e)
	}))
}

// end does what is left when all rows are there.
func (m *Import) end(ctx context.Context, tx pgx.Tx, e transfer.End) error {
	b := &pgx.Batch{}
	for table, highest := range e.Sequences {
		if highest > 0 {
			b.Queue(`SELECT setval(pg_get_serial_sequence($1, 'id'), $2)`, pgx.Identifier{table}.Sanitize(), highest)
		}
	}
	for _, lost := range e.Lost {
		at := []any{int64(lost.Account), int64(lost.Mailbox), int64(lost.UID)}
		b.Queue(`UPDATE messages SET body = false WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3`, at...)
		b.Queue(`DELETE FROM contents WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3`, at...)
		b.Queue(`UPDATE mailboxes SET bodies = bodies - 1 WHERE account_id = $1 AND id = $2`, at[:2]...)
	}
	b.Queue(`UPDATE transfers SET ended = $1 WHERE source = $2`, e.Now.UnixNano(), m.source)
	return tx.SendBatch(ctx, b).Close()
}

// Spoil implements transfer.Sink.
func (m *Import) Spoil(ctx context.Context) error {
	return m.transact(ctx, "give the copy up", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE transfers SET state = '' WHERE ended = 0`)
		return err
	})
}

// moved fails while a move into the database has begun and not ended: what is there is not all of it.
func (s *Store) moved(ctx context.Context, op string) error {
	begun := false
	err := s.view(ctx, op, func(t *tx) error {
		return t.each(ctx, func(*row) error {
			begun = true
			return nil
		}, `SELECT 1 FROM transfers WHERE ended = 0`)
	})
	if err == nil && begun {
		err = fault.New(fault.Unavailable, op, "an installation is being moved into the database: \"imapped migrate-store\" has to end first")
	}
	return err
}
