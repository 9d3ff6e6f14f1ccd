package server

import (
	"slices"
	"sync"
	"time"

	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// How many commands of a connection may run at the same time. Each FETCH may hold fragments and wait for the upstream;
// a STORE holds little, and many of them are committed together.
const (
	maxJobs   = 4
	maxStores = 32
)

// parsed is a frame and the command in it. It is pooled: the command is a view of the frame.
type parsed struct {
	frame syntax.Frame
	cmd   syntax.Command
}

func (c *conn) putParsed(p *parsed) {
	if cap(p.frame.Data) > 8<<10 || cap(p.frame.Lits) > 64 {
		return // one large command must not be kept for good
	}
	c.srv.parsed.Put(p)
}

// job is one command that runs.
type job struct {
	cmd       fsm.Command
	p         *parsed
	args      *syntax.Command // p's
	tag       []byte
	alone     bool // conflicts with everything, whatever the table says: it sets or uses "$"
	beside    bool // runs beside the main goroutine, which sends what the others answer before it waits
	begun     time.Time
	pipelined bool // another command has been received already

	// STORE's messages in the view as it is while it runs, and whether the client's set makes sense (conn.aim).
	seqs  mailbox.Set
	valid bool
}

// stores says whether the command is a STORE.
func (j *job) stores() bool { return j.cmd == fsm.Store || j.cmd == fsm.UIDStore }

// jobs is the commands of a connection that run.
type jobs struct {
	mu      sync.Mutex
	free    sync.Cond // mu; a job ended
	running []*job
	live    int  // commands whose goroutine has not ended: those that run, and those that still send their answer
	more    bool // main has read a further command
}

// wait waits until every command's goroutine has ended.
func (js *jobs) wait() {
	js.mu.Lock()
	defer js.mu.Unlock()
	for js.live > 0 {
		js.free.Wait()
	}
}

func (js *jobs) busy() bool {
	js.mu.Lock()
	defer js.mu.Unlock()
	return len(js.running) > 0
}

// admit waits until j may run beside what runs, and counts it in.
func (c *conn) admit(j *job) {
	js := &c.jobs
	js.mu.Lock()
	defer js.mu.Unlock()
	js.more = true
	for js.conflict(j) || j.stores() && c.aim(j) {
		js.free.Wait()
	}
	js.running, js.live, js.more = append(js.running, j), js.live+1, false
}

// aim finds out which messages a STORE is about, and says whether another one that runs is about one of them: they are
// done in the order in which they came. jobs.mu is held, and nothing but STOREs runs. The view moves only when a command
// ends that ran alone, so that what is found holds for as long as j runs.
func (c *conn) aim(j *job) bool {
	j.seqs, j.valid = c.resolve(c.sel.box.View(), j.args.Set, j.cmd == fsm.UIDStore)
	return slices.ContainsFunc(c.jobs.running, func(r *job) bool { return len(r.seqs.Intersect(j.seqs)) > 0 })
}

// conflict says whether j must wait for any command of the kinds that run.
func (js *jobs) conflict(j *job) bool {
	for _, r := range js.running {
		if j.alone || r.alone || fsm.Conflict(r.cmd, j.cmd) {
			return true
		}
	}
	if j.stores() {
		return len(js.running) >= maxStores
	}
	return len(js.running) >= maxJobs
}

// remove counts j out of what runs; a second time does nothing. mu is held.
func (js *jobs) remove(j *job) {
	for i, r := range js.running {
		if r == j {
			last := len(js.running) - 1
			js.running[i], js.running[last] = js.running[last], nil
			js.running = js.running[:last]
			break
		}
	}
	js.free.Broadcast()
}

// dispatch parses the frame in p and runs the command: FETCH and SEARCH, which may take long, and STORE, of which many
// are committed together, beside the main goroutine.
func (c *conn) dispatch(p *parsed) {
	if len(p.frame.Data) == 0 {
		c.putParsed(p) // an empty line: some clients send one after a literal
		return
	}
	parser := syntax.Parser{Limits: c.fr.Limits()}
	err := parser.Parse(&p.frame, &p.cmd)
	j := &job{
		cmd: commandOf(p.cmd.Verb, p.cmd.UID), p: p, args: &p.cmd, tag: p.cmd.Tag, begun: time.Now(),
		pipelined: c.fr.Buffered() > 0,
	}
	var refused *answer
	switch {
	case len(j.tag) == 0:
		a := bad("No tag")
		refused = &a
	default:
		if refused = c.verdict(j.cmd); refused == nil && err != nil {
			a := badSyntax(err)
			refused = &a
		}
	}
	if refused != nil {
		c.reply(j.tag, j.cmd, refused)
		c.putParsed(p)
		return
	}
	long := j.cmd == fsm.Fetch || j.cmd == fsm.UIDFetch || j.cmd == fsm.Search || j.cmd == fsm.UIDSearch
	j.alone, j.beside = long && usesSaved(j.args), long || j.stores()
	c.admit(j)
	if j.beside {
		go c.run(j)
		return
	}
	c.run(j)
}

// reply answers a command that does not run. It waits for nothing: it has no effect that could be seen too early.
func (c *conn) reply(tag []byte, cmd fsm.Command, a *answer) {
	c.out.begin()
	c.out.tagged(tag, a)
	c.out.end()
	c.jobs.mu.Lock()
	c.count(a.result)
	c.jobs.mu.Unlock()
	c.observe(cmd, a.result, 0)
}

// run runs the command, answers it, and moves the state.
func (c *conn) run(j *job) {
	defer func() {
		if j.p != nil {
			c.putParsed(j.p)
		}
		c.jobs.mu.Lock()
		defer c.jobs.mu.Unlock()
		c.jobs.remove(j)
		c.jobs.live--
	}()
	c.guard(func() {
		a := fsm.Dispatch(c, j.cmd, j)
		c.finish(j, &a)
		c.observe(j.cmd, a.result, time.Since(j.begun))
		var err error
		switch {
		case a.then != nil:
			err = a.then()
		case j.beside && !(j.stores() && c.jobs.busy()): // the last of many STOREs sends the answers of all
			err = c.out.flush()
		}
		if err != nil {
			c.log.Info("connection ended", "command", j.cmd.String(), "err", err)
			c.cut()
		}
	})
}

// finish sends the answer, before it what the client may be told now about its mailbox, and moves the state.
func (c *conn) finish(j *job, a *answer) {
	c.jobs.mu.Lock()
	defer c.jobs.mu.Unlock()
	// Before the answer can be seen: what the client sends after it does not run beside this command.
	defer c.jobs.remove(j)
	if a.silent {
		return
	}
	row := j.cmd.Row()
	if a.result != fsm.BAD && row.After(c.state, a.result) == c.state && !row.Has(fsm.BreaksMailbox) &&
		len(c.jobs.running) == 1 {
		// With a further command received already, which may use sequence numbers, nothing is renumbered in between;
		// except by a command whose purpose that is.
		more := j.pipelined || c.jobs.more
		c.update(row.Has(fsm.MayExpunge) && (!more || row.Has(fsm.BreaksSeqs)), row.Has(fsm.BreaksSeqs))
		if a.highest && c.enabled.has(extQResync) && !c.sel.dirty {
			a.code = highestModSeq(c.sel.box.View())
		}
	}
	if next := row.After(c.state, a.result); next != c.state {
		c.state = next // only commands that run alone, and on the main goroutine, come here
	}
	c.out.begin()
	c.out.tagged(j.tag, a)
	c.out.end()
	c.count(a.result)
}

// count counts BAD answers in a row. jobs.mu is held.
func (c *conn) count(r fsm.Result) {
	if r == fsm.BAD {
		c.bad++
	} else {
		c.bad = 0
	}
}

func (c *conn) tooBad() bool {
	c.jobs.mu.Lock()
	defer c.jobs.mu.Unlock()
	return c.bad >= c.srv.opt.MaxBad
}

func (c *conn) observe(cmd fsm.Command, r fsm.Result, took time.Duration) {
	if c.srv.opt.OnCommand != nil {
		c.srv.opt.OnCommand(cmd.Row().Label, r, took)
	}
}

// usesSaved says whether the command sets or uses the saved search result (RFC 5182).
func usesSaved(cmd *syntax.Command) bool {
	if cmd.Set.Saved || cmd.Search.Return&syntax.ReturnSave != 0 {
		return true
	}
	for i := range cmd.Search.Keys {
		if cmd.Search.Keys[i].Set.Saved {
			return true
		}
	}
	return false
}
