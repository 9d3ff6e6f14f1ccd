// Package cluster holds the end-to-end tests of many nodes: three of the program's, Postgres, Redis and an S3 store in
// containers, Dovecot as the upstream, and clients that read and write through all nodes while parts of all that fail.
//
// Between each node and each thing that it depends on is a proxy in this process, so that any of these lines can be cut for
// one node alone. CONTRIBUTING.md lists the variables that set the sizes.
//
// Invariants:
//  1. What happens when follows from the seed, which is printed: IMAPPED_SEED plays a schedule again. Which node owns what
//     does not, nor does the interleaving.
//  2. A client judges every answer: package ledger has what was promised. What it may excuse - a lost connection, a refusal, a
//     wait - it does not decide: package-wide, health does, from what was broken when.
//  3. Faults end before anything is judged that waits for quiet, and nothing waits without a bound.
package cluster
