package upstream

import (
	"strings"
	"time"

	"imapped/ports/upstream"
)

// evidence is what a server showed of itself: before login what it greets with and offers, after it also its ID.
type evidence struct {
	greeting string // in lower case
	id       string // the ID answer's name and vendor, in lower case
	caps     map[string]bool
	host     string // in lower case
}

func (e *evidence) says(words ...string) bool {
	for _, w := range words {
		if strings.Contains(e.greeting, w) || strings.Contains(e.id, w) {
			return true
		}
	}
	return false
}

func (e *evidence) at(domains ...string) bool {
	for _, d := range domains {
		if e.host == d || strings.HasSuffix(e.host, "."+d) {
			return true
		}
	}
	return false
}

// traits is what the connection does differently for a quirk, beyond what ports/upstream.Server shows.
type traits struct {
	askAgain    bool // the capabilities given so far are not the server's own: ask after login
	mustID      bool // ID before SELECT, offered or not
	noQResync   bool // do not enable it
	noCondStore bool // do not enable or use it
	noUTF8      bool
	noParams    bool // SELECT takes no parameters
	plainList   bool // LIST without RETURN
	noRenumber  bool // EXPUNGE does not renumber: counts from it mean nothing
	noSearch    bool // SEARCH finds everything, whatever is looked for
	noAppendUID bool // APPENDUID is wrong
	noCopyUID   bool // COPYUID is wrong
}

// quirk is one row of the table: how a server is recognised, and what it does otherwise than it says.
type quirk struct {
	name  string
	match func(e *evidence) bool
	apply func(s *upstream.Server, t *traits)
}

// quirkTable is every known deviation that a client has to act upon; what the parser's leniency covers needs no row.
// Rows that apply nothing tell callers something through Server.Quirks.
var quirkTable = []quirk{
	// QRESYNC is advertised, enabled without ENABLED, and its VANISHED is wrong; a proxy rewrites the first capabilities.
	{"icloud-no-qresync", func(e *evidence) bool {
		return e.caps["AUTH=ATOKEN"] || e.at("mail.me.com", "icloud.com") || e.says("icloud")
	}, func(s *upstream.Server, t *traits) {
		s.QResync, t.noQResync, t.askAgain = false, true, true
	}},
	// No QRESYNC; HIGHESTMODSEQ rises before the change can be seen, so that it is no checkpoint.
	{"gmail-modseq-before-data", func(e *evidence) bool {
		return e.caps["X-GM-EXT-1"] || e.says("gimap")
	}, func(s *upstream.Server, t *traits) { s.QResync, t.noQResync = false, true }},
	// No CONDSTORE, whatever is said; where IMAP4rev2 is offered its ESEARCH is broken.
	{"exchange-plain-search", func(e *evidence) bool {
		return e.says("microsoft exchange", "office365", "outlook.com") || e.at("outlook.com", "office365.com")
	}, func(s *upstream.Server, t *traits) {
		s.CondStore, s.QResync, s.ESearch = false, false, false
		t.noCondStore, t.noQResync, t.noUTF8 = true, true, true
	}},
	// At most 10,000 messages of a mailbox are shown; EXPUNGE does not renumber.
	{"yahoo-window-10000", func(e *evidence) bool {
		return e.caps["XYMHIGHESTMODSEQ"] || e.says("yahoo") || e.at("mail.yahoo.com", "aol.com", "yahoo.com")
	}, func(_ *upstream.Server, t *traits) { t.noRenumber = true }},
	// EXAMINE does not keep the UIDVALIDITY that it shows.
	{"courier-no-examine", func(e *evidence) bool { return e.says("courier-imap") },
		func(s *upstream.Server, _ *traits) { s.NoExamine = true }},
	// With QRESYNC, no CLOSED when another mailbox is selected.
	{"zimbra-no-qresync", func(e *evidence) bool { return e.says("zimbra") },
		func(s *upstream.Server, t *traits) { s.QResync, t.noQResync = false, true }},
	// SELECT with parameters is answered BAD.
	{"purelymail-no-select-parameters", func(e *evidence) bool { return e.says("purelymail") || e.at("purelymail.com") },
		func(s *upstream.Server, t *traits) {
			s.QResync, t.noQResync, t.noParams = false, true, true
		}},
	// 163, 126, QQ: SELECT is refused before ID; NOOP shows no new mail, STATUS does; SEARCH ignores its keys.
	{"coremail-id-first", func(e *evidence) bool {
		return e.caps["X-CM-EXT-1"] || e.says("coremail", "qqmail") || e.at("163.com", "126.com", "qq.com", "yeah.net", "188.com")
	}, func(s *upstream.Server, t *traits) { s.PollBy, t.mustID, t.noSearch = time.Minute, true, true }},
	// MODSEQ is -1.
	{"zoho-no-condstore", func(e *evidence) bool { return e.says("zoho") },
		func(s *upstream.Server, t *traits) {
			s.CondStore, s.QResync, t.noCondStore, t.noQResync = false, false, true, true
		}},
	// LIST with SPECIAL-USE is refused; UIDVALIDITY changes with upgrades.
	{"proton-bridge-plain-list", func(e *evidence) bool { return e.says("proton mail bridge", "protonmail", "proton bridge", "gluon") },
		func(s *upstream.Server, t *traits) { s.ListStatus, t.plainList = false, true }},
	// APPENDUID's numbers are the wrong way round, and UIDVALIDITY is 0 or 1 for ever.
	{"davmail-no-appenduid", func(e *evidence) bool { return e.says("davmail") },
		func(_ *upstream.Server, t *traits) { t.noAppendUID, t.noCopyUID = true, true }},
	// COPYUID has the source's UIDVALIDITY.
	{"greenmail-no-copyuid", func(e *evidence) bool { return e.says("greenmail") },
		func(_ *upstream.Server, t *traits) { t.noCopyUID = true }},
	// UIDVALIDITY changes with every session: match by content.
	{"workmail-volatile-uidvalidity", func(e *evidence) bool { return e.says("workmail") || e.at("awsapps.com") }, nil},
}

// applyQuirks switches off what the table says, and records the rows in force.
func applyQuirks(e *evidence, s *upstream.Server, t *traits) {
	s.Quirks = s.Quirks[:0]
	for _, q := range quirkTable {
		if !q.match(e) {
			continue
		}
		s.Quirks = append(s.Quirks, q.name)
		if q.apply != nil {
			q.apply(s, t)
		}
	}
}
