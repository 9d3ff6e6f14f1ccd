package message

import "imapped/domain/mailbox"

// Fragments is everything about a message that is computed from its raw bytes, rendered once, at ingest. The wire
// forms are complete IMAP syntax without the item's name: FETCH copies them behind "ENVELOPE ", "BODY " and so on.
// Strings that need it are quoted or literals ({n}CRLF...) inside them.
type Fragments struct {
	Envelope      []byte // RFC 9051 section 7.5.2, "ENVELOPE"
	Body          []byte // the non-extensible form of BODYSTRUCTURE
	BodyStructure []byte
	// Headers is the raw lines of the header fields in CommonFields, in the message's order, byte for byte. It is empty
	// where the message has none of them, and where they are more than is stored: then the message's own header is to
	// be read (Index.Section).
	Headers []byte
	Preview []byte // UTF-8, at most 200 characters (RFC 8970), not wire syntax; empty but not nil where there is no text
	Parts   []byte // the encoded part index: see Index
}

// Len returns how many octets the fragments have together.
func (f *Fragments) Len() int {
	return len(f.Envelope) + len(f.Body) + len(f.BodyStructure) + len(f.Headers) + len(f.Preview) + len(f.Parts)
}

// Clone returns the fragments in memory of their own.
func (f *Fragments) Clone() Fragments {
	all := make([]byte, 0, f.Len())
	keep := func(p []byte) []byte {
		if p == nil {
			return nil
		}
		from := len(all)
		all = append(all, p...)
		return all[from:len(all):len(all)]
	}
	return Fragments{
		Envelope: keep(f.Envelope), Body: keep(f.Body), BodyStructure: keep(f.BodyStructure),
		Headers: keep(f.Headers), Preview: keep(f.Preview), Parts: keep(f.Parts),
	}
}

// Identity is what names a message before its body is known: computed from metadata that every upstream gives.
type Identity struct {
	Email     mailbox.ObjectID   // equal for copies: from the identifying header fields, the size and the date
	MessageID mailbox.ObjectID   // hash of the Message-ID; zero when there is none
	Refs      []mailbox.ObjectID // hashes of References, then In-Reply-To where it is not among them; root first
}

// CommonFields is the header fields that Fragments.Headers holds: what clients ask for to show a list.
var CommonFields = [...]string{
	"From", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "Priority", "X-Priority", "References", "Newsgroups",
	"In-Reply-To", "Content-Type", "Reply-To", "Sender",
}

// IdentFields is the header fields from which Identify works; an upstream is asked for exactly these.
var IdentFields = [...]string{"Message-ID", "References", "In-Reply-To", "Date", "From", "Subject"}
