package syntax

// RespReader reads a server's responses: a Framer with the decisions about literals made. Bodies of more than a few
// octets are streamed, every other literal stands in the frame, and what is larger than the limits is dropped and
// makes its response Malformed. It belongs to one goroutine.
type RespReader struct {
	framer *Framer
	parser RespParser
	inline uint64
}

// NewRespReader returns a reader; bodies of up to inline octets are not streamed. pool may be nil.
func NewRespReader(lim Limits, pool *BufferPool, inline int) *RespReader {
	return &RespReader{framer: NewFramer(Responses, lim, pool), inline: uint64(max(inline, 0))}
}

// Framer returns the framer: its owner fills it (Reserve, Commit), reads streamed bodies from it (LiteralReader), and
// may ask what it holds. Next is the reader's.
func (r *RespReader) Framer() *Framer { return r.framer }

// Next returns the next response, or nil when octets have to be read first. After a FETCH response with More the
// streamed section is read with Framer().LiteralReader; what is left of it is dropped by the next call, which returns
// the rest of the response. An error is final. The response is valid until the next call of Next or Framer().Reserve.
func (r *RespReader) Next() (*Response, error) {
	for {
		ev, err := r.framer.Next()
		if err != nil {
			return nil, err
		}
		switch ev {
		case NeedData:
			return nil, nil
		case EventChunk, EventLiteralEnd:
		case EventLiteral:
			f := r.framer.Frame()
			body := r.parser.IsBody(f)
			if body && r.framer.Literal().Size > r.inline && r.framer.Stream() {
				return r.parser.Parse(f, true), nil
			}
			if !r.framer.Inline() {
				r.framer.Skip()
			}
		case EventFrame:
			return r.parser.Parse(r.framer.Frame(), false), nil
		case EventReject:
			return r.parser.rejected(r.framer.Reason()), nil
		}
	}
}

// rejected returns the response that stands for one that was dropped.
func (p *RespParser) rejected(why Reason) *Response {
	p.more, p.from, p.body = false, 0, bodyContext{}
	p.resp.reset()
	p.resp.Kind, p.resp.Malformed = RespRejected, true
	p.resp.Text = []byte(why.String())
	return &p.resp
}
