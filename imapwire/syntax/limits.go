package syntax

// Limits bounds everything that the other side decides the size of. Zero means "none of it", never "without bound":
// start from PreAuth, PostAuth or Upstream and change what has to differ.
type Limits struct {
	// Octets.
	Line           int   // one line fragment: up to a literal header or the end of the frame
	Command        int   // all of a frame: its lines and its inline literals
	LiteralInline  int64 // one literal that is kept in the frame
	LiteralStream  int64 // one literal that is streamed (APPEND, REPLACE; bodies in responses)
	LiteralNonSync int64 // one non-synchronizing literal; 4096 is what LITERAL- promises (RFC 7888 section 5)
	Discard        int64 // what is read and dropped of a refused command, or of a response's bodies; more ends the connection

	// Counts within one frame.
	Literals int // literals of any kind
	Ranges   int // comma-separated elements of all sequence sets together
	Keys     int // search keys, with the parentheses and operators
	Depth    int // nesting of search keys
	Items    int // FETCH items
	Parts    int // numbers in one section's part path
	Fields   int // header field names of all sections together
	Flags    int // flags of all lists together
	Args     int // list patterns, capabilities, ID parameters, special uses
	Messages int // messages of one APPEND
}

// PreAuth returns the limits for a client that has not logged in: enough for AUTHENTICATE with a bearer token and for
// LOGIN with literals, and nothing that a stranger could hold memory with.
func PreAuth() Limits {
	return Limits{
		Line: 8 << 10, Command: 16 << 10,
		LiteralInline: 4 << 10, LiteralStream: 0, LiteralNonSync: 4 << 10, Discard: 64 << 10,
		Literals: 4, Ranges: 16, Keys: 16, Depth: 4, Items: 16, Parts: 8, Fields: 16, Flags: 16, Args: 64, Messages: 1,
	}
}

// PostAuth returns the limits for a client that has logged in.
func PostAuth() Limits {
	return Limits{
		Line: 64 << 10, Command: 512 << 10,
		LiteralInline: 64 << 10, LiteralStream: 128 << 20, LiteralNonSync: 128 << 20, Discard: 256 << 20,
		Literals: 80, Ranges: 16 << 10, Keys: 1024, Depth: 32, Items: 256, Parts: 64, Fields: 512, Flags: 512,
		Args: 512, Messages: 64,
	}
}

// Upstream returns the limits for the answers of a server that we are the client of: one SEARCH answer for a million
// messages is one line. Any body that IMAP4rev1 can announce (RFC 3501 section 4.3) is at least passed over.
func Upstream() Limits {
	return Limits{
		Line: 16 << 20, Command: 32 << 20,
		LiteralInline: 8 << 20, LiteralStream: 1 << 30, LiteralNonSync: 1 << 30, Discard: 4 << 30,
		Literals: 64 << 10, Ranges: 1 << 20, Keys: 1024, Depth: 128, Items: 1024, Parts: 256, Fields: 4096, Flags: 4096,
		Args: 4096, Messages: 1,
	}
}
