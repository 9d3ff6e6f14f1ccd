// Package config turns flags, the environment and a TOML file into checked settings. It reads nothing itself: what the
// environment holds is a parameter, and files are read through a function.
//
// Every setting has one name. In the environment it is written as it is here (SYNC_CONCURRENCY), in the file in lower case
// (sync_concurrency = 4); the file has no tables. A secret may be given as the path of a file that holds it, under the same
// name with _FILE behind it. S3_* are other names of R2_*. A flag beats the environment, that beats the file, and the file
// beats the default. What each setting does is said in the table in settings.go, from which docs/configuration.md is made.
//
// Invariants:
//  1. Load reports every trouble that it finds, not only the first, and each names the key that it is about.
//  2. What is not known is a trouble: every unknown key of the file, and names in the environment that are so close to one
//     of ours that nothing else can be meant.
//  3. A value is right whatever the others are (parse.go), then the values are right together (check.go), then they are
//     safe for production (production.go).
//  4. A secret is a Secret from the moment that its text is known. No trouble, and nothing that fmt, log/slog or
//     encoding/json print, shows more of it than its fingerprint.
//  5. Everything is read once, at the start: a Config never changes.
package config
