package postgres_test

import (
	"strings"
	"testing"

	"imapped/adapters/postgres"
	"imapped/domain/fault"
	"imapped/ports/transfer"
)

// tablesOf returns the tables of a database as a transfer that fills all of them has them.
func tablesOf(t *testing.T, url string) (tables []transfer.Table) {
	t.Helper()
	rows, err := connect(t, url).Query(t.Context(), `SELECT table_name::text, column_name::text FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name NOT IN ('goose_db_version', 'owners', 'transfers') ORDER BY 1, ordinal_position`)
	must(t, err)
	for rows.Next() {
		var table, column string
		must(t, rows.Scan(&table, &column))
		if n := len(tables); n == 0 || tables[n-1].Name != table {
			tables = append(tables, transfer.Table{Name: table})
		}
		last := &tables[len(tables)-1]
		last.Columns = append(last.Columns, column)
	}
	must(t, rows.Err())
	return tables
}

func openImport(t *testing.T, url string) *postgres.Import {
	t.Helper()
	m, err := postgres.OpenImport(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	return m
}

// TestImportCoversTheSchema: a table or a column that nothing comes for is refused, and so is one that there is no place for.
func TestImportCoversTheSchema(t *testing.T) {
	for _, tt := range []struct{ statement, refused string }{
		{"", ""},
		{"CREATE TABLE labels (id bigint)", "labels"},
		{"ALTER TABLE mailboxes ADD COLUMN colour bigint NOT NULL DEFAULT 0", "mailboxes.colour"},
		{"ALTER TABLE messages DROP COLUMN zone", "messages.zone"},
		{"DROP TABLE departed", "departed"},
	} {
		url := database(t)
		tables := tablesOf(t, url)
		if tt.statement != "" {
			_, err := connect(t, url).Exec(t.Context(), tt.statement)
			must(t, err)
		}
		_, err := openImport(t, url).Begin(t.Context(), transfer.Start{Origin: transfer.Origin{ID: "a", State: "1"}, Tables: tables})
		if tt.refused == "" {
			must(t, err)
		} else if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s: %v", tt.statement, err)
		}
	}
}

// TestImportAlone: a second process does not fill the same database.
func TestImportAlone(t *testing.T) {
	url := database(t)
	start := transfer.Start{Origin: transfer.Origin{ID: "a", State: "1"}, Tables: tablesOf(t, url)}
	first := openImport(t, url)
	_, err := first.Begin(t.Context(), start)
	must(t, err)
	_, err = openImport(t, url).Begin(t.Context(), start)
	fails(t, err, fault.Conflict)
	_, err = first.Begin(t.Context(), start)
	must(t, err)
}
