// Package suites holds the end-to-end tests: Dovecot as the upstream, the program as a child process, and strict or real
// clients on both sides. CONTRIBUTING.md lists the variables that set their sizes.
//
// Invariants:
//  1. Where no Docker engine answers, or the corpus is missing, tests are skipped with the reason; under CI=true a
//     missing engine is a failure.
//  2. A message is recognised on both sides by its place: local UIDs ascend as the upstream's do.
//  3. No time is asserted but generous bounds on hanging; figures are logged as "figure: ...".
package suites
