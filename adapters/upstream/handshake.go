package upstream

import (
	"context"
	"encoding/base64"
	"net"
	"strconv"
	"strings"

	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// handshake is a connection that is being made: one goroutine, strictly in turn.
type handshake struct {
	dialer *Dialer
	target upstream.Target
	ctx    context.Context //nolint:containedctx // a handshake is one call of Dial
	step   upstream.Step
	conn   net.Conn
	wire   *wire
	tags   int

	evidence evidence
	server   upstream.Server
	traits   traits
	caps     []string // as given last
	fresh    bool     // caps were given since fresh was last set to false
	enabled  map[string]bool
	preauth  bool
	writer   syntax.CommandWriter
}

// greet reads the greeting (RFC 9051 section 7.1.5).
func (h *handshake) greet() error {
	for range maxGarbage {
		r, err := h.wire.next()
		if err != nil {
			return err
		}
		if r.Kind != syntax.RespStatus {
			continue
		}
		switch r.Status {
		case syntax.StatusOK, syntax.StatusPREAUTH:
			h.preauth = r.Status == syntax.StatusPREAUTH
			h.server.Greeting = printable(r.Text)
			h.evidence.greeting = strings.ToLower(h.server.Greeting)
			h.note(r)
			return nil
		default:
			return refusal("greeting", r, false)
		}
	}
	return fault.New(fault.Unavailable, "greeting", "the server does not speak IMAP")
}

// note keeps the capabilities and other facts that a response gives.
func (h *handshake) note(r *syntax.Response) {
	words := r.Words
	switch {
	case r.Kind == syntax.RespCapability:
	case r.Code.ID == syntax.CodeCapability:
		words = r.Code.Words
	case r.Kind == syntax.RespEnabled:
		for _, w := range r.Words {
			h.enabled[strings.ToUpper(string(w))] = true
		}
		return
	case r.Kind == syntax.RespID:
		h.noteID(r.Words)
		return
	default:
		return
	}
	h.caps, h.fresh = h.caps[:0], true
	for _, w := range words[:min(len(words), maxCapabilities)] {
		name := strings.ToUpper(printable(w))
		h.caps = append(h.caps, name)
		h.evidence.caps[name] = true
	}
}

func (h *handshake) noteID(words [][]byte) {
	h.server.ID = make(map[string]string, len(words)/2)
	for i := 0; i+1 < len(words) && i < maxIDWords; i += 2 {
		name, value := strings.ToLower(printable(words[i])), printable(words[i+1])
		h.server.ID[name] = value
	}
	h.evidence.id = strings.ToLower(h.server.ID["name"] + " " + h.server.ID["vendor"])
}

func (h *handshake) offers(name string) bool {
	for _, c := range h.caps {
		if c == name {
			return true
		}
	}
	return false
}

// begin starts a command in the writer and returns its tag.
func (h *handshake) begin(name string) string {
	h.tags++
	tag := "H" + strconv.Itoa(h.tags)
	h.wire.began()
	h.writer.Begin(tag, name)
	return tag
}

// send writes what the writer holds, waiting for "+" where a literal needs it. When tag is answered before that, the
// answer is returned as a refusal.
func (h *handshake) send(op, tag string) error {
	from := 0
	for _, split := range h.writer.Splits {
		if err := h.wire.write(h.writer.Buf[from:split]); err != nil {
			return err
		}
		from = split
		if err := h.await(op, tag, true); err != nil {
			return err
		}
	}
	err := h.wire.write(h.writer.Buf[from:])
	clear(h.writer.Buf) // it may have held the password
	h.writer.Reset()
	return err
}

// await reads up to the tagged response, or, with plus, up to a continuation request. A NO or BAD is a refusal.
func (h *handshake) await(op, tag string, plus bool) error {
	noise := 0
	for range maxAnswers {
		r, err := h.wire.next()
		if err != nil {
			return err
		}
		h.note(r)
		switch {
		case r.Kind == syntax.RespContinue && plus:
			return nil
		case r.Kind == syntax.RespContinue:
			return fault.New(fault.Unavailable, op, "the server asks for more")
		case r.Kind == syntax.RespStatus && r.Status == syntax.StatusBYE:
			return refusal(op, r, false)
		case r.Kind == syntax.RespTagged && string(r.Tag) == tag:
			if r.Status != syntax.StatusOK {
				return refusal(op, r, h.step == upstream.StepLogin && (op == "LOGIN" || op == "AUTHENTICATE"))
			}
			if plus {
				return fault.New(fault.Unavailable, op, "the server answered before it had everything")
			}
			return nil
		case r.Kind == syntax.RespGarbage:
			noise++
		}
		if noise > maxGarbage {
			break
		}
	}
	return fault.New(fault.Unavailable, op, "the server says everything but an answer")
}

// command sends a command without arguments and waits for its end.
func (h *handshake) command(name string) error {
	tag := h.begin(name)
	h.writer.End()
	if err := h.send(name, tag); err != nil {
		return err
	}
	return h.await(name, tag, false)
}

// startTLS secures the connection (RFC 9051 section 6.2.1). What was said in the clear is forgotten, and octets that
// came in the clear behind the answer are an attack.
func (h *handshake) startTLS(nc net.Conn) error {
	switch {
	case h.preauth:
		return fault.New(fault.Unavailable, "STARTTLS", "the server has logged us in without TLS")
	case h.fresh && !h.offers("STARTTLS"):
		return fault.New(fault.Unavailable, "STARTTLS", "the server does not offer it")
	}
	if err := h.command("STARTTLS"); err != nil {
		return err
	}
	if h.wire.buffered() {
		return fault.New(fault.Unavailable, "STARTTLS", "the server sent more before TLS: an injection")
	}
	conn, err := h.secure(nc)
	if err != nil {
		return err
	}
	h.conn = conn
	before := h.wire
	h.wire = newWire(conn, h.dialer)
	h.wire.commands.Store(before.commands.Load())
	h.wire.sent.Store(before.sent.Load())
	h.wire.received.Store(before.received.Load())
	h.caps, h.fresh, h.evidence.caps = nil, false, map[string]bool{}
	return nil
}

// login logs in and prepares the session.
func (h *handshake) login() error {
	if !h.fresh {
		if err := h.command("CAPABILITY"); err != nil {
			return err
		}
	}
	if !h.preauth {
		h.fresh = false // what is offered before login says nothing about what is after it
		if err := h.authenticate(); err != nil {
			return err
		}
	}
	return h.prepare()
}

// authenticate logs in the best way that is offered, or the one that is asked for.
func (h *handshake) authenticate() error {
	mech := strings.ToUpper(h.target.Auth)
	if mech == "" {
		switch {
		case h.offers("AUTH=PLAIN"):
			mech = "PLAIN"
		case !h.offers("LOGINDISABLED"):
			mech = "LOGIN"
		default:
			return fault.New(fault.Denied, "login", "the server offers no way to log in with a password")
		}
	}
	h.writer.LiteralPlus, h.writer.LiteralMinus = h.offers("LITERAL+"), h.offers("LITERAL-")
	switch mech {
	case "PLAIN":
		return h.plain()
	case "LOGIN":
		if h.offers("LOGINDISABLED") {
			return fault.New(fault.Denied, "login", "the server does not allow LOGIN on this connection")
		}
		tag := h.begin("LOGIN")
		h.writer.SP().AString([]byte(h.target.Username)).SP().String(h.target.Password).End()
		if err := h.send("LOGIN", tag); err != nil {
			return err
		}
		return h.await("LOGIN", tag, false)
	}
	return fault.Newf(fault.Invalid, "login", "the mechanism %q is not supported", printable([]byte(mech)))
}

// plain is AUTHENTICATE PLAIN (RFC 4616), with an initial response where that is offered (RFC 4959).
func (h *handshake) plain() error {
	if strings.ContainsRune(h.target.Username, 0) || strings.IndexByte(string(h.target.Password), 0) >= 0 {
		return fault.New(fault.Invalid, "login", "NUL in the name or the password")
	}
	message := append([]byte("\x00"+h.target.Username+"\x00"), h.target.Password...)
	answer := base64.StdEncoding.EncodeToString(message)
	clear(message)
	const op = "AUTHENTICATE"
	tag := h.begin("AUTHENTICATE PLAIN")
	if h.offers("SASL-IR") {
		h.writer.SP().Raw(answer).End()
		if err := h.send(op, tag); err != nil {
			return err
		}
		return h.await(op, tag, false)
	}
	h.writer.End()
	if err := h.send(op, tag); err != nil {
		return err
	}
	if err := h.await(op, tag, true); err != nil {
		return err
	}
	h.writer.Raw(answer).End()
	if err := h.send(op, tag); err != nil {
		return err
	}
	return h.await(op, tag, false)
}

// prepare asks for what is not known yet and enables what is wanted: one round trip when the login's answer gave the
// capabilities, two otherwise.
func (h *handshake) prepare() error {
	applyQuirks(&h.evidence, &h.server, &h.traits)
	h.enabled = map[string]bool{}
	var id, enable string
	first := h.fresh && !h.traits.askAgain
	if !first {
		ask := h.begin("CAPABILITY")
		h.writer.End()
		if h.offers("ID") || h.traits.mustID {
			id = h.beginID()
		}
		if err := h.send("CAPABILITY", ask); err != nil {
			return err
		}
		if err := h.await("CAPABILITY", ask, false); err != nil {
			return err
		}
		if err := h.optional("ID", id); err != nil {
			return err
		}
	} else if h.offers("ID") || h.traits.mustID {
		id = h.beginID()
	}
	applyQuirks(&h.evidence, &h.server, &h.traits)
	if wanted := h.wanted(); len(wanted) > 0 && h.offers("ENABLE") {
		enable = h.begin("ENABLE " + strings.Join(wanted, " "))
		h.writer.End()
	}
	if len(h.writer.Buf) > 0 {
		if err := h.send("ENABLE", enable); err != nil {
			return err
		}
		if first {
			if err := h.optional("ID", id); err != nil {
				return err
			}
		}
		if err := h.optional("ENABLE", enable); err != nil {
			return err
		}
	}
	h.conclude()
	return nil
}

func (h *handshake) beginID() string {
	tag := h.begin(`ID ("name" "imapped")`)
	h.writer.End()
	return tag
}

// optional waits for the end of a command, when it was sent, that may be refused.
func (h *handshake) optional(op, tag string) error {
	if tag == "" {
		return nil
	}
	err := h.await(op, tag, false)
	if refused, ok := asRefusal(err); ok && refused.Status != "BYE" {
		return nil
	}
	return err
}

// wanted returns the extensions to enable (RFC 5161).
func (h *handshake) wanted() []string {
	var names []string
	switch {
	case h.offers("QRESYNC") && !h.traits.noQResync && !h.traits.noCondStore:
		names = append(names, "QRESYNC") // enables CONDSTORE too (RFC 7162 section 3.2.3)
	case h.offers("CONDSTORE") && !h.traits.noCondStore:
		names = append(names, "CONDSTORE")
	}
	if h.offers("UTF8=ACCEPT") && !h.traits.noUTF8 {
		names = append(names, "UTF8=ACCEPT")
	}
	return names
}

// conclude sets what may be used.
func (h *handshake) conclude() {
	s := &h.server
	s.Capabilities = append([]string(nil), h.caps...)
	s.QResync = h.enabled["QRESYNC"]
	s.CondStore = h.offers("CONDSTORE") || h.offers("QRESYNC")
	s.ListStatus = h.offers("LIST-STATUS")
	s.SpecialUse = h.offers("SPECIAL-USE")
	s.Idle = h.offers("IDLE")
	s.UIDPlus = h.offers("UIDPLUS")
	s.Unselect = h.offers("UNSELECT")
	s.Move = h.offers("MOVE")
	s.ESearch = h.offers("ESEARCH")
	s.LiteralPlus = h.offers("LITERAL+")
	s.CreateSpecialUse = h.offers("CREATE-SPECIAL-USE")
	s.AppendLimit = appendLimit(h.caps)
	s.UTF8 = h.enabled["UTF8=ACCEPT"]
	applyQuirks(&h.evidence, s, &h.traits)
}

// appendLimit returns the number of APPENDLIMIT=n (RFC 7889 section 3), or 0.
func appendLimit(caps []string) int64 {
	for _, c := range caps {
		if digits, ok := strings.CutPrefix(c, "APPENDLIMIT="); ok {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}
