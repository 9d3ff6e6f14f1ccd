// Package migrations holds the schemas of the metadata stores as goose migrations, a folder an engine.
//
// Invariants:
//  1. A migration that has been released is never edited; a change of the schema is a new file.
//  2. Every table of mail data leads its keys with account_id, so that one account is one shard.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite returns the migrations of the SQLite store, in goose's format, at the root of the returned file system.
func SQLite() (fs.FS, error) { return fs.Sub(files, "sqlite") }

// Postgres returns the migrations of the Postgres store, likewise.
func Postgres() (fs.FS, error) { return fs.Sub(files, "postgres") }
