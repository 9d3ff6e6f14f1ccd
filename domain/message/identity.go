package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"
	"slices"
	"time"

	"imapped/domain/mailbox"
)

// Identify computes a message's identity from the raw lines of its IdentFields, its RFC822.SIZE and its INTERNALDATE:
// what every upstream gives before the body. Header lines may come in any order and folding; other lines are ignored,
// and so is everything after the header's blank line. A field that is there several times counts with all its values,
// in order.
func Identify(header []byte, size int64, date time.Time) Identity {
	values := make([][]byte, len(IdentFields))
	for f := range Fields(header) {
		if f.Value == nil {
			continue
		}
		for i, name := range IdentFields {
			if !equalFold(f.Name, name) {
				continue
			}
			if len(values[i]) > 0 {
				values[i] = append(values[i], ' ')
			}
			values[i] = appendCollapsed(values[i], f.Value)
		}
	}
	var id Identity
	h := sha256.New()
	h.Write([]byte("imapped email 1\x00"))
	for _, v := range values {
		writeCounted(h, v)
	}
	var tail [16]byte
	binary.BigEndian.PutUint64(tail[:8], uint64(size))
	binary.BigEndian.PutUint64(tail[8:], uint64(date.Unix()))
	h.Write(tail[:])
	id.Email = sum(h)

	messageID, references, inReplyTo := values[0], values[1], values[2]
	if len(messageID) > 0 {
		own := messageID // without brackets: as it is
		for m := range MessageIDs(messageID) {
			own = m
			break
		}
		id.MessageID = hashMessageID(own)
	}
	for m := range MessageIDs(references) {
		id.Refs = append(id.Refs, hashMessageID(m))
		if len(id.Refs) > maxRefs { // the root and the nearest stay
			id.Refs = slices.Delete(id.Refs, 1, 2)
		}
	}
	for m := range MessageIDs(inReplyTo) {
		if ref := hashMessageID(m); !slices.Contains(id.Refs, ref) {
			if len(id.Refs) == maxRefs {
				id.Refs = slices.Delete(id.Refs, 1, 2)
			}
			id.Refs = append(id.Refs, ref)
		}
		break // further ones are other messages that were answered at the same time
	}
	return id
}

// MessageIDs returns the message identifiers in a field's value, each with its angle brackets; what is between them is
// skipped.
func MessageIDs(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			start := bytes.IndexByte(value, '<')
			if start < 0 {
				return
			}
			value = value[start:]
			end := bytes.IndexByte(value, '>')
			if end < 0 {
				return
			}
			id := value[:end+1]
			if again := bytes.LastIndexByte(id, '<'); again > 0 { // "<" without end before it
				id = id[again:]
			}
			if len(id) > 2 && !yield(id) {
				return
			}
			value = value[end+1:]
		}
	}
}

// hashMessageID hashes an identifier; white space inside it, which folding puts there, does not count.
func hashMessageID(id []byte) mailbox.ObjectID {
	h := sha256.New()
	h.Write([]byte("imapped message-id 1\x00"))
	h.Write(bytes.ReplaceAll(id, []byte{' '}, nil))
	return sum(h)
}

func writeCounted(h hash.Hash, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:])
	h.Write(b)
}

// sum returns the hash's first half. It is never zero, which means none.
func sum(h hash.Hash) (id mailbox.ObjectID) {
	copy(id[:], h.Sum(nil))
	if id == (mailbox.ObjectID{}) {
		id[0] = 1
	}
	return id
}
