package server

import "imapped/imapwire/fsm"

// refuseWrite is the answer to every command that changes mail or mailboxes: this server reads only. It is NO and not
// BAD, since the command was understood, and CANNOT, since trying again later does not help (RFC 5530).
func refuseWrite(cmd fsm.Command) answer {
	return no("CANNOT", cmd.String()+" is not available: mail cannot be changed here, only read")
}

// Create answers CREATE.
func (c *conn) Create(j *job) answer { return refuseWrite(j.cmd) }

// Delete answers DELETE.
func (c *conn) Delete(j *job) answer { return refuseWrite(j.cmd) }

// Rename answers RENAME.
func (c *conn) Rename(j *job) answer { return refuseWrite(j.cmd) }

// Subscribe answers SUBSCRIBE.
func (c *conn) Subscribe(j *job) answer { return refuseWrite(j.cmd) }

// Unsubscribe answers UNSUBSCRIBE.
func (c *conn) Unsubscribe(j *job) answer { return refuseWrite(j.cmd) }

// Append answers APPEND; its message is refused before it is sent, or dropped (conn.literal).
func (c *conn) Append(j *job) answer { return refuseWrite(j.cmd) }

// Expunge answers EXPUNGE.
func (c *conn) Expunge(j *job) answer { return refuseWrite(j.cmd) }

// UIDExpunge answers UID EXPUNGE.
func (c *conn) UIDExpunge(j *job) answer { return refuseWrite(j.cmd) }

// Store answers STORE.
func (c *conn) Store(j *job) answer { return refuseWrite(j.cmd) }

// UIDStore answers UID STORE.
func (c *conn) UIDStore(j *job) answer { return refuseWrite(j.cmd) }

// Copy answers COPY.
func (c *conn) Copy(j *job) answer { return refuseWrite(j.cmd) }

// UIDCopy answers UID COPY.
func (c *conn) UIDCopy(j *job) answer { return refuseWrite(j.cmd) }

// Move answers MOVE.
func (c *conn) Move(j *job) answer { return refuseWrite(j.cmd) }

// UIDMove answers UID MOVE.
func (c *conn) UIDMove(j *job) answer { return refuseWrite(j.cmd) }
