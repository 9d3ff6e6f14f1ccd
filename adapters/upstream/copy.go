package upstream

import (
	"iter"
	"slices"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// copyJob is one Copy, sent as one command or, for long sets, as several.
type copyJob struct {
	parts
	cmd   *upstream.Copy
	trust bool // COPYUID can be believed
	mixed bool // the parts' UIDVALIDITYs differ
}

// copying is one UID COPY or UID MOVE.
type copying struct {
	job *copyJob
	piece

	validity uint32
	pairs    []upstream.Pair
	told     bool // a COPYUID came before the end
	lies     bool // and one made no sense
}

func (c *Conn) copyAnswers(cmd *upstream.Copy) (answers []answer) {
	cmd.UIDValidity, cmd.Pairs, cmd.Done = 0, nil, nil
	if cmd.Move && !c.server.Move {
		cmd.Err = fault.New(fault.Invalid, "UID MOVE", "the server does not offer it")
		return nil
	}
	job := &copyJob{parts: parts{outcome: &cmd.Outcome}, cmd: cmd, trust: !c.traits.noCopyUID}
	for _, p := range pieces(cmd.UIDs, false) {
		job.left++
		answers = append(answers, &copying{job: job, piece: p})
	}
	return answers
}

func (p *copying) verb() string {
	if p.job.cmd.Move {
		return "UID MOVE"
	}
	return "UID COPY"
}

func (p *copying) encode(w *syntax.CommandWriter) {
	w.Raw(p.verb()).SP().Raw(p.set).SP().Mailbox([]byte(p.job.cmd.To))
}

// take takes the COPYUID of a MOVE, which comes before the messages go (RFC 6851 section 4.3). One of other messages is
// another MOVE's.
func (p *copying) take(r *syntax.Response, _ bool) bool {
	if !p.job.cmd.Move || r.Kind != syntax.RespStatus || r.Status != syntax.StatusOK || r.Code.ID != syntax.CodeCopyUID {
		return false
	}
	if s := r.Code.Source; len(s) > 0 && (!p.uids.Contains(s[0].First) || p.has(s[0].First)) {
		return false
	}
	p.told = true
	p.note(r)
	return true
}

func (p *copying) has(uid uint32) bool {
	return slices.ContainsFunc(p.pairs, func(pair upstream.Pair) bool { return pair.From == uid })
}

// note adds the pairs of a COPYUID. One that does not agree with itself, or with what was asked for, is not believed,
// and neither are the others for the same command.
func (p *copying) note(r *syntax.Response) {
	code := &r.Code
	source, dest := toSet(code.Source), toSet(code.Dest)
	n := source.Len()
	switch {
	case r.Malformed, code.Num == 0, p.validity != 0 && p.validity != uint32(code.Num), n != dest.Len(),
		n+uint64(len(p.pairs)) > min(p.uids.Len(), maxPairs):
		p.lies = true
		return
	}
	p.validity = uint32(code.Num)
	next, stop := iter.Pull(dest.All)
	defer stop()
	for uid := range source.All {
		to, _ := next()
		p.lies = p.lies || !p.uids.Contains(uid)
		p.pairs = append(p.pairs, upstream.Pair{From: uid, To: to})
	}
}

// toSet returns the ranges in the order in which they came: Len and All are all that may be asked of it.
func toSet(ranges []syntax.Range) mailbox.Set {
	set := make(mailbox.Set, len(ranges))
	for i, r := range ranges {
		set[i] = mailbox.Range{First: r.First, Last: r.Last}
	}
	return set
}

// believed returns the pairs, unless a message is in them twice.
func (p *copying) believed() []upstream.Pair {
	from, to := make([]uint32, len(p.pairs)), make([]uint32, len(p.pairs))
	for i, pair := range p.pairs {
		from[i], to[i] = pair.From, pair.To
	}
	if n := uint64(len(p.pairs)); p.lies || mailbox.SetOf(from...).Len() != n || mailbox.SetOf(to...).Len() != n {
		return nil
	}
	return p.pairs
}

func (p *copying) finish(r *syntax.Response, err error) {
	if err == nil && !p.told && r.Code.ID == syntax.CodeCopyUID {
		p.note(r)
	}
	j, cmd := p.job, p.job.cmd
	if err == nil {
		cmd.Done = mailbox.Normalize(append(slices.Clone(cmd.Done), p.uids...))
	}
	if pairs := p.believed(); len(pairs) > 0 && j.trust && !j.mixed {
		if j.mixed = cmd.UIDValidity != 0 && cmd.UIDValidity != p.validity; j.mixed {
			cmd.UIDValidity, cmd.Pairs = 0, nil
		} else {
			cmd.UIDValidity, cmd.Pairs = p.validity, append(cmd.Pairs, pairs...)
		}
	}
	j.end(err)
}
