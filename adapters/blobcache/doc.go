// Package blobcache keeps blobs of another store in a local folder, up to a number of bytes, the least recently used
// leaving first.
//
//	DIR/3f/3f9a...   a blob, in the clear; its modification time is when it was last used, to some minutes
//	DIR/tmp/RANDOM   a blob that is arriving
//
// A file is named by its blob's key, or, where the store behind is one user's, by a hash of the user and the key. The files are
// in the clear, also where the store behind seals what it holds: sealing keeps the mail from whoever owns the bucket, and the
// folder is on a machine that has the keys in any case. It is for the user alone that the program runs as.
//
// Invariants:
//  1. The store behind is the truth: everything is written there first, and an error of it is the answer. The folder may
//     lose any file, or all, at any time, also while it is used; a disk that is full, read-only or gone costs hits, and
//     is never an error to anybody.
//  2. A blob is downloaded once for all who want it at a time. Those of more than streamed bytes are read while they
//     arrive; what arrives is checked, and the last byte of a blob is given out only when the whole matched its key. A
//     file that is found is checked as a whole once by a process and by its size every time; a damaged one is fetched
//     anew.
//  3. Files, and what is arriving, take at most MaxBytes together, rounded up to blocks, once the folder was listed
//     after a start. About 120 bytes of memory are held for each file.
//  4. No file is touched and the store behind is not called while a lock is held.
//  5. What came from one user's store is not found through another's, nor held for it: each has files of its own.
//  6. Close ends what the Cache started, and waits for it. Open blobs stay readable as far as they have arrived.
package blobcache
