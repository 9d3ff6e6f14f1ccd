package message

// The limits of a walk and of what is computed from it. What is beyond them is skipped or left opaque, never an error.
const (
	maxDepth     = 100     // nested parts; a deeper multipart or message is an opaque leaf
	maxParts     = 10_000  // parts in a message; after the last one no boundary is looked for
	maxField     = 1 << 18 // octets of one header field that are looked at
	maxBoundary  = 80      // octets of a boundary that are compared; RFC 2046 allows 70
	maxArena     = 2 << 20 // octets of header values kept for rendering, in all parts together
	maxAddresses = 20_000  // addresses rendered, in all envelopes of a message together
	maxParams    = 1_000   // parameters of one field
	maxHeaders   = 1 << 17 // octets of Fragments.Headers
	maxRefs      = 50      // Identity.Refs
	bufferSize   = 1 << 15 // the read buffer; it grows to maxField only for a header field that long
)
