// Package archtest holds the house rules as tests: what may import what, and what a file may contain. It has no code
// of its own.
//
// Invariants:
//  1. What the tables of allowed imports do not list is forbidden, and each row says why it is there.
//  2. A row that names something which no longer exists fails, so that the tables do not outlive the code.
//  3. Rules about files hold for every module of the repository; rules about imports for the main one.
package archtest
