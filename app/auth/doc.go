// Package auth decides who may log in: it checks passwords against their Argon2id hashes, makes guessing slow, and
// writes every attempt to the log.
//
// Invariants:
//  1. A name that does not exist costs as much time, and gives the same error, as a wrong password.
//  2. At most Config.Hashes hashes are computed at a time: the memory for them is bounded.
//  3. Failures are counted strictly for a name at an address, and far more generously for a name, a user by all their names
//     or an address alone; an address from which a user has logged in before is not locked by failures at other
//     addresses, on any node that shares the counts. So nobody can lock a user out from afar. A name is judged, looked up
//     and counted in lower case, so that no spelling of it has an allowance of its own.
//  4. No password, and nothing from which one could be guessed, is kept, logged or returned. What is remembered of a
//     successful login is a keyed hash under a key that lives and dies with the process.
//  5. Losing the counts loses no login: when the port fails the attempt is judged by the password alone.
package auth
