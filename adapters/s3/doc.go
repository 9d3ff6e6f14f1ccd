// Package s3 keeps raw messages as objects in an S3-compatible store: the ports of ports/blob on a bucket.
//
//	PREFIX blobs/NAME      a blob; NAME is its key in hex, or the encrypted key where blobs are sealed
//	PREFIX sweep/RANDOM    a deletion is running (see 3)
//	PREFIX form            "clear" or "sealed": how blobs are held (see 7)
//	PREFIX installation    the id of the database that names the blobs, in hex (see 8)
//
// Where blobs are sealed, each user has such folders of their own below PREFIX users/ID/, sealed under a data key of their
// own (package blobseal; Users).
//
// Invariants:
//  1. An object is written whole and conditionally (If-None-Match: *), so that it appears at once and once. A blob that
//     is written in pieces lies in a local file, without a name, until its key is known.
//  2. Of a small blob no byte is given out before all were checked. A large one that this process has not checked may be
//     read on while it arrives, from its beginning on; its last byte is given out only when the whole matched, and any
//     other read waits for that. Sealed blobs are authenticated chunk by chunk, before any byte is given out.
//     Every read of an open blob is of one version of the object (If-Match).
//  3. A sweep never deletes what a Put has found or refreshed, on whatever node, without conditional deletes or locks,
//     which not every store has:
//     - "Stored again" is LastModified. A Put that finds its object relies on it only when it is younger than fresh; an
//     older one is written again. Delete spares what is younger than before minus spared; spared exceeds fresh by the
//     difference that clocks may have.
//     - Delete writes a marker, makes sure that no other deletion has one (else it gives up), looks at each object's time,
//     deletes the old ones with one request that is never repeated, and removes its marker. All of it has a deadline;
//     a marker that is older than markerLife counts no more.
//     - A Put that finds its object looks whether it is fresh, and else writes it; then it waits until no marker is there;
//     then it looks again. If it is there and fresh, every deletion that knew an older time has ended before the
//     second look, and every later one sees a fresh time. If it is not, it writes it and waits again.
//     A Put that creates its object needs none of this: the one deletion that may run has its one request behind it.
//     This assumes what S3 promises, that reads and listings show every earlier write, and that a store carries a request
//     out within markerLife less deleteTime after its sender gave up, or never.
//  4. An object whose bytes do not match is reported as Corrupt once by a process, then as NotFound, and is overwritten
//     by the next Put of its key. It is never deleted for that: a good one may have taken its place.
//  5. Memory does not grow with a blob: at most firstRead bytes are held of an open one.
//  6. Every request has a deadline, and no request is made while a lock is held, but those that check a large blob, by
//     who waits for the check. Errors name neither the endpoint nor the credentials.
//  7. The blobs of a bucket are all sealed or all in the clear; the first process that uses it decides (ClaimForm). So neither
//     is mail left readable, nor taken for missing, because somebody changed a setting.
//  8. The blobs of a bucket belong to one database: the first one that uses it (Claim). Another one, which names none of them,
//     does not get to sweep them.
package s3
