// Package blobfs keeps raw messages as files named by their SHA-256: the ports of ports/blob on a folder.
//
//	DIR/3f/3f9a...      a blob, in the folder of its first two hex digits (256 folders)
//	DIR/tmp/RANDOM/     what one running store is writing; the folder is locked while its process lives
//	DIR/corrupt/        blobs that failed their check, moved aside for a person to look at
//	DIR/installation    the id of the database that names the blobs, in hex (see 4)
//	DIR/lock            is locked for the moment in which a blob is touched, named, moved aside or deleted (see 2)
//
// Invariants:
//  1. A file gets its final name only when its bytes are durable, and Put and Commit return only when its name is: a
//     crash at any moment leaves whole blobs, and files in tmp that the next Open removes.
//  2. A blob of a known key is never written again, only touched. Delete and the touch exclude each other, in this process
//     and in others, also on other machines where flock holds for all of them (docs/operations.md): a sweep cannot remove
//     what a Put has just found. Nothing is waited for with the lock in hand but the file system.
//  3. What is remembered of blobs is a table of fixed size.
//  4. The blobs belong to one database: the first one that uses them (Claim). Another one, which names none of them, does not
//     get to sweep them.
//
// One level of 256 folders was measured twice as fast as two levels, because each folder that a group touches is
// synced; see BenchmarkPut.
package blobfs
