package ledger

import (
	"fmt"
	"sync"
)

// Memory is what any client was ever told that can never change.
type Memory struct {
	mu         sync.Mutex
	validities map[Box]uint32
	meanings   map[meaning]string // of a (mailbox, UIDVALIDITY, UID): the message's identity
	tokens     map[meaning]string // the same: its content
	identities map[string]string  // by account and content
	highest    map[Box]uint64     // mod-sequence seen of a mailbox or of anything in it
}

type meaning struct {
	Place
	validity uint32
}

// NewMemory returns an empty memory.
func NewMemory() *Memory {
	return &Memory{
		validities: map[Box]uint32{}, meanings: map[meaning]string{}, tokens: map[meaning]string{}, identities: map[string]string{},
		highest: map[Box]uint64{},
	}
}

// Validity hears of a mailbox's UIDVALIDITY, and returns what is wrong with it, or "".
func (m *Memory) Validity(b Box, v uint32) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, known := m.validities[b]
	m.validities[b] = v
	if known && old != v {
		return fmt.Sprintf("%s: UIDVALIDITY was %d and is %d", b, old, v)
	}
	return ""
}

// Meaning hears what message a UID stands for: its identity (EMAILID), its content's token, or both. It returns what is wrong
// with that, or "".
func (m *Memory) Meaning(p Place, validity uint32, identity, token string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := meaning{p, validity}
	if identity == "" {
		identity = m.meanings[at]
	}
	if token == "" {
		token = m.tokens[at]
	}
	if old := m.meanings[at]; old != "" && old != identity {
		return fmt.Sprintf("%s: UID %d of UIDVALIDITY %d was the message %s and is %s", p.Box, p.UID, validity, old, identity)
	}
	if old := m.tokens[at]; old != "" && old != token {
		return fmt.Sprintf("%s: UID %d of UIDVALIDITY %d was %s and is %s", p.Box, p.UID, validity, old, token)
	}
	m.meanings[at], m.tokens[at] = identity, token
	if identity == "" || token == "" {
		return ""
	}
	id := p.Account + "/" + token
	if old := m.identities[id]; old != "" && old != identity {
		return fmt.Sprintf("%s: the message %s of UID %d has the identity %s, and had %s", p.Box, token, p.UID, identity, old)
	}
	m.identities[id] = identity
	return ""
}

// Means hears what content a UID has, under the UIDVALIDITY that was told last.
func (m *Memory) Means(p Place, token string) string {
	m.mu.Lock()
	v := m.validities[p.Box]
	m.mu.Unlock()
	return m.Meaning(p, v, "", token)
}

// Floor returns the highest mod-sequence of a mailbox that was ever seen: what is asked from now on is answered with no lower one.
func (m *Memory) Floor(b Box) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.highest[b]
}

// Highest hears of a mailbox's mod-sequence, which was asked for when the floor was what it is, and returns what is wrong, or "".
func (m *Memory) Highest(b Box, floor, seq uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.highest[b] = max(m.highest[b], seq)
	if seq < floor {
		return fmt.Sprintf("%s: HIGHESTMODSEQ is %d, after something of %d was seen", b, seq, floor)
	}
	return ""
}

// Heard hears of the mod-sequence of a message.
func (m *Memory) Heard(b Box, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.highest[b] = max(m.highest[b], seq)
}
