package server

import (
	"bytes"
	"io"

	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

var _ fsm.Handler[*job, answer] = (*conn)(nil)

// Capability answers CAPABILITY.
func (c *conn) Capability(*job) answer {
	c.out.untagged("CAPABILITY " + c.capabilities())
	return ok("Capability completed")
}

// Noop answers NOOP: what there is to tell is sent before the answer, as for every command (conn.finish).
func (c *conn) Noop(*job) answer { return ok("Noop completed") }

// Check answers CHECK (RFC 3501 section 6.4.1): there is nothing to write back.
func (c *conn) Check(*job) answer { return ok("Check completed") }

// Logout answers LOGOUT.
func (c *conn) Logout(*job) answer {
	c.out.untagged("BYE Logging out")
	return ok("Logout completed")
}

// ID answers ID (RFC 2971).
func (c *conn) ID(j *job) answer {
	if len(j.args.ID) > 0 {
		fields := make([]any, 0, 4)
		for _, p := range j.args.ID {
			for _, key := range []string{"NAME", "VERSION"} {
				if syntax.EqualFold(p.Key.Bytes, key) {
					fields = append(fields, "client_"+string(bytes.ToLower(p.Key.Bytes)), p.Value.Text())
				}
			}
		}
		c.log.Info("client", fields...)
	}
	o := &c.out
	o.begin()
	o.text("* ID ")
	if len(c.srv.opt.ID) == 0 {
		o.text("NIL")
	}
	for i, s := range c.srv.opt.ID {
		sep := " "
		if i == 0 {
			sep = "("
		}
		o.text(sep)
		o.b = syntax.AppendString(o.b, s, false)
		if i == len(c.srv.opt.ID)-1 {
			o.text(")")
		}
	}
	o.text("\r\n")
	o.end()
	return ok("ID completed")
}

// enabling is what ENABLE knows.
var enabling = []struct {
	name string
	cap  fsm.Cap
	ext  uint32
}{
	{"CONDSTORE", fsm.CapCondstore, extCondStore},
	{"QRESYNC", fsm.CapQresync, extQResync | extCondStore}, // RFC 7162 section 3.2.3
	{"UTF8=ACCEPT", fsm.CapUtf8Accept, extUTF8},
}

// Enable answers ENABLE (RFC 9051 section 6.3.1): unknown extensions are passed over.
func (c *conn) Enable(j *job) answer {
	line := "ENABLED"
	for _, w := range j.args.Words {
		for _, e := range enabling {
			if syntax.EqualFold(w.Bytes, e.name) && c.srv.caps.Has(e.cap) && !c.enabled.name(e.name) {
				c.enabled.add(e.ext)
				line += " " + e.name
			}
		}
	}
	c.out.untagged(line)
	return ok("Enable completed")
}

// Namespace answers NAMESPACE (RFC 9051 section 6.3.10): everything is the user's own and stands at the root.
func (c *conn) Namespace(*job) answer {
	c.out.untagged(`NAMESPACE (("" "/")) NIL NIL`)
	return ok("Namespace completed")
}

// Compress answers COMPRESS (RFC 4978).
func (c *conn) Compress(j *job) answer {
	switch {
	case len(j.args.Words) != 1 || !syntax.EqualFold(j.args.Words[0].Bytes, "DEFLATE"):
		return bad("Unknown compression")
	case c.out.z != nil:
		return no("COMPRESSIONACTIVE", "The connection is compressed already")
	}
	a := ok("DEFLATE active")
	a.then = func() error {
		if err := c.out.flush(); err != nil {
			return err
		}
		src := c.rd
		if rest := c.fr.TakeBuffered(); len(rest) > 0 {
			src = io.MultiReader(bytes.NewReader(rest), src)
		}
		c.rd = newInflater(src)
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		c.out.z = &deflater{dst: c.out.nc, pool: c.srv.deflaters}
		return nil
	}
	return a
}
