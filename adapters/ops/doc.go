// Package ops is what operators look at: an HTTP server that says whether the process lives and what of it is ready, the
// instruments that Prometheus reads, and the audit log.
//
// Invariants:
//  1. Nothing here is global: each Metrics has its own registry. What is measured does not know it: the instruments are
//     methods with plain parameters that are passed as hooks where things happen.
//  2. The number of time series is bounded: labels are names from the program's own tables, kinds of failure, and the ids
//     of accounts; never a name, an address or a text from a network.
//  3. A scrape reads memory only: it asks neither a database nor a network, so that it tells when these fail.
//  4. A check has a deadline, and at most one run at a time, however many ask.
//  5. Audit records hold who did what to whom, from where, and how it ended: no secret and nothing of a message.
package ops
