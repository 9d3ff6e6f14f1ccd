// Command convergence plays random histories of changes on both sides of a mirror, with faults, and checks that nothing is
// lost, nothing is doubled, and both sides end up the same (docs/conflicts.md).
//
// A history is operations of clients on our side (app/session), of a client on the upstream, faults of the upstream, and
// what happens to our processes: kill -9 at a call of a port or at a command, restart, a pause during which another process
// takes over. It comes in phases. At the end of each the faults end, everything comes to rest, both sides are compared with
// one another and with the model, and the next phase begins from there.
//
//	go run ./tools/convergence -histories 10000 -seed 1 -parallel 2
//
// prints the seeds, and the first failure as a shrunk history, which -history replays. With the same seed a history has the
// same operations and faults; goroutines run as they run, so that a failure may need several runs to come back.
//
// The metadata store is SQLite, in memory; with -store postgres, or a Postgres URL, it is that, where each history is a user of
// one database. That takes a few times as long. Blobs and hints are in memory; with -s3 and -redis they are there. -store postgres,
// -s3 start and -redis start start servers, for which their programs (of versitygw, of Redis) must be installed.
//
// The upstream is upstreamsim, in this process, or, with -imap, a real IMAP server (realimap): a user for each history, our
// own IMAP client, a proxy in between that makes the faults, and that hides what the history's upstream does not offer. A
// server with "/" between the levels of names, one with ".", and a shell where each keeps its mail, to reset UIDVALIDITYs
// and to clean up. With the image of the e2e suites (whose TestConvergenceDovecot does all this):
//
//	docker run -d --name slash imapped-e2e/dovecot
//	docker run -d --name dot -e SEPARATOR=. imapped-e2e/dovecot
//	ip() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $1; }
//	go run ./tools/convergence -histories 300 -on -imap $(ip slash):143 -imap-dot $(ip dot):143 \
//		-shell 'docker exec -i slash sh' -shell-dot 'docker exec -i dot sh'
//
// Invariants of the model:
//  1. A message is known by its content, which is unique but for copies. An instance is one message in one mailbox, on both
//     sides together; it is there in the end unless somebody removed it who had seen it. Where the table of conflicts
//     allows more than one outcome, and only there, the bounds are apart.
//  2. A flag that one side alone changed, in the phase, is as that side left it; one that nobody changed is as it was.
//  3. (mailbox, UID) and (name, UIDVALIDITY, UID) mean one content for ever; mod-sequences rise; what a client once had
//     becomes the present by VANISHED and the messages changed since.
//  4. A change is parked only when the history refused it for good, or the table of conflicts says so.
//  5. What the fault schedule makes unavoidable (mail that arrives between the look and a DELETE) is told by the upstream
//     and forgiven; nothing else is.
//
// That the simulator can fail is checked by hand, on a copy of the tree: each of these changes must make
// "-histories 200 -shrink=false" fail.
//   - app/replay/outcome.go: intend returns its items without calling Queue.Intend (no intent record).
//   - adapters/sqlite/apply.go: what pendingOps finds is left out (no rebase of pending changes of flags).
//   - adapters/sqlite/leases.go: fenced returns nil (no fencing).
//   - app/replay/flags.go: expunge sends EXPUNGE of all that is marked instead of by UID.
package main
