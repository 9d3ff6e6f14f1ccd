// Package ports holds what the application needs from outside, a sub-package a port: the driven side of the house,
// named by what the consumer needs. Each sub-package that has an adapter has a contract suite beside it
// (ports/metadata/metadatatest, ports/blob/blobtest, ...), and every adapter passes the same one.
//
// Invariants:
//  1. An interface has at most five methods and documents each outcome; errors carry a kind (domain/fault).
//  2. No type of an adapter's technology appears here.
//  3. Every method honours its context's deadline.
package ports
