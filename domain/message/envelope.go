package message

import "bytes"

// The fields of an envelope, in the order of RFC 9051 section 7.5.2.
const (
	envDate = iota
	envSubject
	envFrom
	envSender
	envReplyTo
	envTo
	envCc
	envBcc
	envInReplyTo
	envMessageID
	envFields
)

var envelopeNames = [envFields]string{
	"Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID",
}

// envelopeField returns the envelope field with the name, or -1.
func envelopeField(name []byte) int {
	if len(name) < 2 || len(name) > 11 {
		return -1
	}
	for i, n := range envelopeNames {
		if equalFold(name, n) {
			return i
		}
	}
	return -1
}

// appendEnvelope appends the envelope of the entity whose fields they are; nil fields are absent.
func (c *composer) appendEnvelope(dst []byte, fields *[envFields]span) []byte {
	dst = append(dst, '(')
	dst = c.appendUnfolded(dst, c.value(fields[envDate]))
	dst = append(dst, ' ')
	if subject := c.value(fields[envSubject]); subject == nil {
		dst = append(dst, "NIL"...)
	} else {
		dst = c.appendReadable(dst, subject)
	}
	// Sender and Reply-To are From's where they are missing or name nobody.
	var from [2]int
	for f := envFrom; f <= envBcc; f++ {
		dst = append(dst, ' ')
		start := len(dst)
		found := false
		if fields[f].set() {
			dst, found = c.appendAddresses(dst, c.value(fields[f]))
		}
		switch {
		case found:
		case f == envSender || f == envReplyTo:
			dst = append(dst, dst[from[0]:from[1]]...)
		default:
			dst = append(dst, "NIL"...)
		}
		if f == envFrom {
			from = [2]int{start, len(dst)}
		}
	}
	dst = append(dst, ' ')
	dst = c.appendUnfolded(dst, c.value(fields[envInReplyTo]))
	dst = append(dst, ' ')
	dst = c.appendUnfolded(dst, c.value(fields[envMessageID]))
	return append(dst, ')')
}

// appendAddresses appends the addresses of the values of a field, which NULs separate; found is false, and nothing
// appended, where there are none.
func (c *composer) appendAddresses(dst, values []byte) (_ []byte, found bool) {
	c.list, c.addresses.mem = c.list[:0], c.addresses.mem[:0]
	for value := range bytes.SplitSeq(values, []byte{0}) {
		c.list = c.addresses.parse(c.list, value, maxAddresses-c.addressed-len(c.list))
	}
	c.addressed += len(c.list)
	if len(c.list) == 0 {
		return dst, false
	}
	dst = append(dst, '(')
	for i := range c.list {
		a := &c.list[i]
		dst = append(dst, '(')
		if a.name == nil {
			dst = append(dst, "NIL"...)
		} else {
			dst = c.appendReadable(dst, a.name)
		}
		dst = append(dst, ' ')
		dst = appendNString(dst, a.route)
		dst = append(dst, ' ')
		dst = appendNString(dst, a.mailbox)
		dst = append(dst, ' ')
		dst = appendNString(dst, a.domain)
		dst = append(dst, ')')
	}
	return append(dst, ')'), true
}
