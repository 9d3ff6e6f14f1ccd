package upstream

import (
	"slices"
	"strings"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// changeAnswers returns what is to be sent for a command that changes something.
func (c *Conn) changeAnswers(cmd upstream.Command) []answer {
	switch cmd := cmd.(type) {
	case *upstream.Store:
		return storeAnswers(cmd)
	case *upstream.Append:
		return c.appendAnswers(cmd)
	case *upstream.Copy:
		return c.copyAnswers(cmd)
	case *upstream.Expunge:
		return c.expungeAnswers(cmd)
	case *upstream.Deleted:
		return c.deleted(cmd)
	case *upstream.Create:
		p := &plain{name: "CREATE", mailboxes: []string{cmd.Name}, outcome: &cmd.Outcome}
		if c.server.CreateSpecialUse {
			p.options = use(cmd.Use)
		}
		return []answer{p}
	case *upstream.Delete:
		return []answer{&plain{name: "DELETE", mailboxes: []string{cmd.Name}, outcome: &cmd.Outcome}}
	case *upstream.Rename:
		return []answer{&plain{name: "RENAME", mailboxes: []string{cmd.From, cmd.To}, outcome: &cmd.Outcome}}
	case *upstream.Subscribe:
		name := "SUBSCRIBE"
		if cmd.Off {
			name = "UNSUBSCRIBE"
		}
		return []answer{&plain{name: name, mailboxes: []string{cmd.Name}, outcome: &cmd.Outcome}}
	}
	cmd.Result().Err = fault.Newf(fault.Invalid, "upstream", "unknown command %T", cmd)
	return nil
}

// plain is a command whose answer's condition is all it has.
type plain struct {
	name      string
	mailboxes []string
	options   string
	outcome   *upstream.Outcome
}

func (p *plain) verb() string { return p.name }

func (p *plain) encode(w *syntax.CommandWriter) {
	w.Raw(p.name)
	for _, m := range p.mailboxes {
		w.SP().Mailbox([]byte(m))
	}
	w.Raw(p.options)
}

func (p *plain) take(*syntax.Response, bool) bool     { return false }
func (p *plain) finish(_ *syntax.Response, err error) { p.outcome.Err = err }

// uses is the special uses as CREATE takes them (RFC 6154 section 3, RFC 8457).
var uses = [...]struct {
	attr mailbox.Attr
	name string
}{
	{mailbox.All, `\All`}, {mailbox.Archive, `\Archive`}, {mailbox.Drafts, `\Drafts`}, {mailbox.Flagged, `\Flagged`},
	{mailbox.Junk, `\Junk`}, {mailbox.Sent, `\Sent`}, {mailbox.Trash, `\Trash`}, {mailbox.Important, `\Important`},
}

func use(attrs mailbox.Attr) string {
	var names []string
	for _, u := range uses {
		if attrs&u.attr != 0 {
			names = append(names, u.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (USE (" + strings.Join(names, " ") + "))"
}

// piece is a part of a set of UIDs that fits into a command.
type piece struct {
	set  string
	uids mailbox.Set
}

// pieces cuts a set. With open its last number stands for "*".
func pieces(uids mailbox.Set, open bool) (cut []piece) {
	var set []byte
	from := 0
	flush := func(to int) {
		if len(set) == 0 {
			return
		}
		part := uids[from:to]
		if last := len(part) - 1; open && to == len(uids) {
			part = append(slices.Clone(part[:last]), mailbox.Range{First: part[last].First, Last: ^uint32(0)})
		}
		cut = append(cut, piece{set: string(set), uids: part})
		set, from = set[:0], to
	}
	for i := range uids {
		r := uids[i : i+1]
		size := len(set)
		if size > 0 {
			set = append(set, ',')
		}
		if open && i == len(uids)-1 {
			set = mailbox.Set{{First: r[0].First, Last: r[0].First}}.Append(set)
			set = append(set, ":*"...)
		} else {
			set = r.Append(set)
		}
		if len(set) > maxCommand {
			last := string(set[size+1:])
			set = set[:size]
			flush(i)
			set = append(set, last...)
		}
	}
	flush(len(uids))
	return cut
}

// parts is a command that is sent as several.
type parts struct {
	outcome *upstream.Outcome
	left    int
	refused error // the first refusal
	lost    error // the first that was not answered, or not in a way that settles it
}

// end counts one that is over, and sets the outcome with the last.
func (p *parts) end(err error) {
	switch refusal, ok := asRefusal(err); {
	case err == nil:
	case ok && refusal.Status != "BYE":
		if p.refused == nil {
			p.refused = err
		}
	case p.lost == nil:
		p.lost = err
	}
	if p.left--; p.left > 0 {
		return
	}
	if p.outcome.Err = p.lost; p.lost == nil {
		p.outcome.Err = p.refused
	}
}

// part is one command of those that need no more of their answers than the condition.
type part struct {
	job *parts
	piece
	name, options string
}

func (p *part) verb() string                         { return p.name }
func (p *part) encode(w *syntax.CommandWriter)       { w.Raw(p.name).SP().Raw(p.set).Raw(p.options) }
func (p *part) take(*syntax.Response, bool) bool     { return false }
func (p *part) finish(_ *syntax.Response, err error) { p.job.end(err) }

func inParts(name string, uids mailbox.Set, options string, outcome *upstream.Outcome) (answers []answer) {
	job := &parts{outcome: outcome}
	for _, p := range pieces(uids, false) {
		job.left++
		answers = append(answers, &part{job: job, piece: p, name: name, options: options})
	}
	return answers
}

// storeAnswers is UID STORE (RFC 9051 section 6.4.6).
func storeAnswers(cmd *upstream.Store) []answer {
	if cmd.Flags.Empty() {
		return nil
	}
	sign := "+"
	if cmd.Remove {
		sign = "-"
	}
	return inParts("UID STORE", cmd.UIDs, " "+sign+"FLAGS.SILENT ("+cmd.Flags.String()+")", &cmd.Outcome)
}

// expungeAnswers is UID EXPUNGE (RFC 4315 section 2.1) or EXPUNGE.
func (c *Conn) expungeAnswers(cmd *upstream.Expunge) []answer {
	switch {
	case cmd.All && len(cmd.UIDs) == 0:
		return []answer{&plain{name: "EXPUNGE", outcome: &cmd.Outcome}}
	case cmd.All || len(cmd.UIDs) == 0:
		cmd.Err = fault.New(fault.Invalid, "EXPUNGE", "neither some messages nor all, or both")
	case !c.server.UIDPlus:
		cmd.Err = fault.New(fault.Invalid, "UID EXPUNGE", "the server does not offer it")
	default:
		return inParts("UID EXPUNGE", cmd.UIDs, "", &cmd.Outcome)
	}
	return nil
}
