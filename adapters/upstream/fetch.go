package upstream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// fetchJob is one Fetch, sent as one command or, for long sets, as several.
type fetchJob struct {
	cmd       *upstream.Fetch
	left      int // commands that are not answered
	gone      []mailbox.Range
	malformed bool
	refused   error  // the first refusal
	callback  error  // what OnMessage returned
	then      func() // called when cmd is finished; nil: nothing
}

// fetchPart is one UID FETCH command.
type fetchPart struct {
	job *fetchJob
	piece
	modSeq  bool // ask for MODSEQ
	qresync bool
}

// fetchAnswers cuts a Fetch into commands of a safe length.
func (c *Conn) fetchAnswers(cmd *upstream.Fetch) []answer {
	if cmd.Offset > 0 && cmd.UIDs.Len() != 1 {
		cmd.Err = fault.New(fault.Invalid, "UID FETCH", "an offset is for one message only")
		return nil
	}
	job := &fetchJob{cmd: cmd}
	return c.fetchParts(job)
}

func (c *Conn) fetchParts(job *fetchJob) (answers []answer) {
	cmd := job.cmd
	for _, p := range pieces(cmd.UIDs, cmd.Open) {
		job.left++
		answers = append(answers, &fetchPart{
			job: job, piece: p,
			modSeq:  c.server.CondStore && cmd.Items&upstream.ItemFlags != 0,
			qresync: c.server.QResync && cmd.Vanished && cmd.ChangedSince > 0,
		})
	}
	return answers
}

var identItem = "BODY.PEEK[HEADER.FIELDS (" + strings.ToUpper(strings.Join(message.IdentFields[:], " ")) + ")]"

func (p *fetchPart) verb() string { return "UID FETCH" }

func (p *fetchPart) encode(w *syntax.CommandWriter) {
	cmd := p.job.cmd
	w.Raw("UID FETCH ").Raw(p.set).Raw(" (UID")
	if cmd.Items&upstream.ItemFlags != 0 {
		w.Raw(" FLAGS")
	}
	if p.modSeq {
		w.Raw(" MODSEQ")
	}
	if cmd.Items&upstream.ItemDate != 0 {
		w.Raw(" INTERNALDATE")
	}
	if cmd.Items&upstream.ItemSize != 0 {
		w.Raw(" RFC822.SIZE")
	}
	if cmd.Items&upstream.ItemIdent != 0 {
		w.SP().Raw(identItem)
	}
	if cmd.Items&upstream.ItemBody != 0 {
		w.Raw(" BODY.PEEK[]")
		if cmd.Offset > 0 {
			w.Raw("<").Number(uint64(cmd.Offset)).Raw(".2147483647>")
		}
	}
	w.Raw(")")
	if cmd.ChangedSince > 0 {
		w.Raw(" (CHANGEDSINCE ").Number(cmd.ChangedSince)
		if p.qresync {
			w.Raw(" VANISHED")
		}
		w.Raw(")")
	}
}

func (p *fetchPart) take(r *syntax.Response, _ bool) bool {
	if r.Kind != syntax.RespVanished || !r.Earlier || !p.qresync {
		return false
	}
	p.job.malformed = p.job.malformed || r.Malformed
	for _, n := range r.Nums {
		p.job.gone = append(p.job.gone, mailbox.Range{First: n.First, Last: n.Last})
	}
	return true
}

func (p *fetchPart) finish(_ *syntax.Response, err error) {
	j := p.job
	if j.refused == nil {
		j.refused = err
	}
	if j.left--; j.left > 0 {
		return
	}
	if j.then != nil {
		defer j.then()
	}
	j.cmd.Gone = mailbox.Normalize(j.gone)
	switch {
	case j.callback != nil:
		j.cmd.Err = j.callback
	case j.refused != nil:
		j.cmd.Err = j.refused
	case j.malformed:
		j.cmd.Err = fault.New(fault.Unavailable, "UID FETCH", "the answer was malformed")
	default:
		j.cmd.Err = nil
	}
}

// fetching is a FETCH response in the making: its parts come one by one when bodies are streamed.
type fetching struct {
	msg       upstream.Message
	malformed bool
	told      upstream.Item // what the callback has had
	header    []byte        // where Message.Header is copied to
	late      *spool        // a body that came before its UID, or before what is to be told with it
}

// drop forgets a response whose end will not come.
func (f *fetching) drop() {
	if f.late != nil {
		f.late.close()
		f.late = nil
	}
}

// fetched takes one part of a FETCH response.
func (c *Conn) fetched(r *syntax.Response) error {
	f, d := &c.fetch, &r.Fetch
	if !d.Continued {
		f.drop()
		*f = fetching{header: f.header[:0]}
	}
	f.malformed = f.malformed || r.Malformed
	c.merge(d)
	var body io.Reader
	for i := range d.Sections {
		s := &d.Sections[i]
		switch {
		case s.Nil:
		case s.Kind == syntax.HoldsHeader && s.Streamed:
			if err := c.readHeader(); err != nil {
				return err
			}
		case s.Kind == syntax.HoldsHeader:
			f.header = append(f.header[:0], s.Data...)
			f.msg.Header, f.msg.Has = f.header, f.msg.Has|upstream.ItemIdent
		case s.Kind == syntax.HoldsMessage && s.Streamed:
			if err := c.streamBody(s); err != nil {
				return err
			}
		case s.Kind == syntax.HoldsMessage:
			if f.msg.UID != 0 { // else nobody can use it
				body = bytes.NewReader(s.Data)
				c.deliver(c.fetcher(f.msg.UID), body, s.Origin, s.Size)
			}
		}
	}
	if d.More {
		return nil
	}
	defer f.drop()
	if f.late != nil && f.msg.UID != 0 {
		c.deliver(c.fetcher(f.msg.UID), f.late, f.late.origin, f.late.size)
	}
	if body == nil && f.late == nil && (f.told == 0 || f.msg.Has&^f.told != 0) {
		c.deliver(c.fetcher(f.msg.UID), nil, -1, 0)
	}
	return nil
}

// merge adds what a part gives.
func (c *Conn) merge(d *syntax.FetchData) {
	m := &c.fetch.msg
	if d.Has&syntax.HasUID != 0 {
		m.UID = d.UID
	}
	if d.Has&syntax.HasFlags != 0 {
		m.Flags, m.Has = c.flagSet(d.Flags), m.Has|upstream.ItemFlags
	}
	if d.Has&syntax.HasModSeq != 0 {
		m.ModSeq = d.ModSeq
	}
	if d.Has&syntax.HasSize != 0 {
		m.Size, m.Has = d.Size, m.Has|upstream.ItemSize
	}
	if d.Has&syntax.HasDate != 0 {
		if t, ok := syntax.ParseInternalDate(d.Date); ok {
			m.Date, m.Has = t, m.Has|upstream.ItemDate
		}
	}
}

// flagSet returns the set of the names, made once for each list of names.
func (c *Conn) flagSet(names [][]byte) flag.Set {
	key := c.flagKey[:0]
	for _, n := range names {
		key = append(append(key, n...), 0)
	}
	c.flagKey = key
	if s, ok := c.flags[string(key)]; ok {
		return s
	}
	words := make([]string, 0, len(names))
	for _, n := range names[:min(len(names), maxFlags)] {
		if len(n) <= maxFlag {
			words = append(words, string(n))
		}
	}
	s := flag.Parse(words...)
	if len(c.flags) >= maxFlagLists || len(key) > smallRead {
		clear(c.flags)
	}
	c.flags[string(key)] = s
	return s
}

const maxFlagLists = 1024

// readHeader reads a streamed header section, of which no more than maxHeader octets are kept.
func (c *Conn) readHeader() error {
	f := &c.fetch
	lit := c.wire.rr.Framer().LiteralReader(c.wire)
	var err error
	for len(f.header) < maxHeader && err == nil {
		if len(f.header) == cap(f.header) {
			f.header = append(f.header, 0)[:len(f.header)]
		}
		var n int
		n, err = lit.Read(f.header[len(f.header):min(cap(f.header), maxHeader)])
		f.header = f.header[:len(f.header)+n]
	}
	_ = lit.Close()
	f.msg.Header, f.msg.Has = f.header, f.msg.Has|upstream.ItemIdent
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// streamBody passes a body on while it comes; what nobody reads is dropped by the next read of the wire.
func (c *Conn) streamBody(s *syntax.Section) error {
	f := &c.fetch
	lit := c.wire.rr.Framer().LiteralReader(c.wire)
	defer func() { _ = lit.Close() }()
	var o *op
	early := f.msg.UID == 0
	if !early {
		if o = c.fetcher(f.msg.UID); o == nil {
			return nil
		}
		if p, ok := o.answer.(*fetchPart); ok { // what is to be told with the body is still to come
			early = p.job.cmd.Items&upstream.ItemBody != 0 && p.job.cmd.Items&upstream.ItemMeta&^f.msg.Has != 0
		}
	}
	if early {
		f.drop()
		if s.Size > maxSpool {
			return nil
		}
		f.late = &spool{size: s.Size, origin: s.Origin}
		return f.late.fill(lit)
	}
	body := &bodyReader{c: c, batch: o.batch, lit: lit}
	c.deliver(o, body, s.Origin, s.Size)
	return body.err
}

// fetcher returns the pending command that the answer for the UID belongs to: the first Fetch that asked for it, else
// the first Fetch, else a Select that reports changes; nil when it is news. No command behind a Select has an answer
// before the Select has: it is about another mailbox.
func (c *Conn) fetcher(uid uint32) *op {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first *op
	for _, o := range c.pending {
		switch a := o.answer.(type) {
		case *fetchPart:
			if a.uids.Contains(uid) {
				return o
			}
			if first == nil {
				first = o
			}
		case *selecting:
			if first == nil && a.cmd.Resync != nil {
				first = o
			}
			return first
		}
	}
	return first
}

// deliver calls the command's callback with the message as far as it is known and has not been told.
func (c *Conn) deliver(o *op, body io.Reader, origin, size int64) {
	f := &c.fetch
	if (o == nil || f.msg.UID == 0) && f.msg.Has&upstream.ItemFlags != 0 {
		c.mu.Lock()
		c.tell(upstream.Event{Flags: true})
		c.mu.Unlock()
	}
	if o == nil {
		return
	}
	o.batch.mu.Lock()
	defer o.batch.mu.Unlock()
	switch a := o.answer.(type) {
	case *selecting:
		if !o.batch.dead {
			a.changed(f)
		}
	case *fetchPart:
		switch {
		case f.msg.UID == 0: // news, or an answer that is lost
			a.job.malformed = a.job.malformed || f.malformed
		case !o.batch.dead:
			c.call(a.job, body, origin, size)
		}
	}
}

// call calls OnMessage.
func (c *Conn) call(job *fetchJob, body io.Reader, origin, size int64) {
	f := &c.fetch
	m := f.msg
	m.Has &^= f.told
	f.told |= f.msg.Has
	if body != nil && job.cmd.Items&upstream.ItemBody != 0 {
		m.Body, m.BodySize, m.Has = body, size, m.Has|upstream.ItemBody
		f.told |= upstream.ItemBody
		// A server that ignores the offset gives everything: what was not asked for is dropped here.
		if skip := job.cmd.Offset - max(origin, 0); job.cmd.Offset > 0 && skip != 0 {
			if skip < 0 || skip > size {
				m.Body, m.BodySize, m.Has = nil, 0, m.Has&^upstream.ItemBody
			} else {
				m.BodySize -= skip
				skipBody(body, skip)
			}
		}
	}
	if job.callback == nil && job.cmd.OnMessage != nil {
		job.callback = job.cmd.OnMessage(m)
	}
}

// skipBody passes over n octets.
func skipBody(body io.Reader, n int64) {
	if b, ok := body.(*bodyReader); ok {
		b.skip = n
		return
	}
	_, _ = io.CopyN(io.Discard, body, n)
}

// spool keeps a body that came before its UID: a little in memory, more in a file without a name.
type spool struct {
	size, origin int64
	mem          []byte
	file         *os.File
	read         int64
}

const (
	spoolMemory = 256 << 10
	maxSpool    = 256 << 20 // what is larger is not kept: such a message is asked for again
)

func (s *spool) fill(r io.Reader) error {
	if s.size <= spoolMemory {
		var buf bytes.Buffer
		_, err := io.Copy(&buf, r)
		s.mem = buf.Bytes()
		return err
	}
	file, err := os.CreateTemp("", "imapped-*")
	if err != nil {
		return fault.As(fault.Unavailable, "keep a body", err)
	}
	_ = os.Remove(file.Name())
	s.file = file
	if _, err := io.Copy(file, r); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fault.As(fault.Unavailable, "keep a body", err)
	}
	return nil
}

// Read reads the body.
func (s *spool) Read(p []byte) (int, error) {
	if s.file != nil {
		return s.file.Read(p)
	}
	n := copy(p, s.mem[s.read:])
	if s.read += int64(n); n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
