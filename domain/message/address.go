package message

import "bytes"

// address is one address of a list (RFC 9051 section 7.5.2). A group begins with one that has only a mailbox, the
// group's name, and ends with one that has nothing; nil is NIL.
type address struct {
	name, route, mailbox, domain []byte
}

// The stand-ins for what an address lacks.
var (
	missingMailbox = []byte("MISSING_MAILBOX")
	missingDomain  = []byte("MISSING_DOMAIN")
	syntaxError    = []byte("SYNTAX_ERROR")
	invalidRoute   = []byte("INVALID_ROUTE")
)

// addressParser reads address lists (RFC 5322 section 3.4, with the obsolete forms and what real mail has instead).
type addressParser struct {
	lx   lexer
	cur  address
	mem  []byte // what cur's fields and earlier ones are parts of
	text []byte // the last phrase or local part read
	list []address
	most int // addresses in list before reading ends
}

// parse appends the addresses of a folded header value to list; at most most of them are read. They are parts of p.mem,
// which the caller empties when they are no longer needed.
func (p *addressParser) parse(list []address, value []byte, most int) []address {
	p.lx.s, p.lx.i, p.lx.keep = value, 0, true
	p.list, p.most = list, len(list)+most
	p.cur = address{}
	if p.mem == nil {
		p.mem = make([]byte, 0, 512)
	}
	if p.lx.space() == stMore {
		p.addressList()
	}
	return p.list
}

// save keeps text that may be overwritten; it is never nil.
func (p *addressParser) save(text []byte) []byte {
	start := len(p.mem)
	p.mem = append(p.mem, text...)
	return p.mem[start:len(p.mem):len(p.mem)]
}

func (p *addressParser) add() {
	if len(p.list) < p.most {
		p.list = append(p.list, p.cur)
	}
	p.cur = address{}
}

// addMailbox adds an address that is not a group's mark: what it lacks is made up for.
func (p *addressParser) addMailbox() {
	if p.cur.mailbox == nil {
		p.cur.mailbox = missingMailbox
	}
	if len(p.cur.domain) == 0 {
		p.cur.domain = missingDomain
	}
	p.add()
}

func (p *addressParser) addressList() {
	for len(p.list) < p.most {
		start := p.lx.i
		st := p.group()
		if st == stBad {
			p.lx.i = start
			st = p.mailbox()
		}
		if st == stEnd || !p.lx.at(',') {
			return
		}
		p.lx.i++
		switch p.lx.space() {
		case stBad: // a comment without end: something was meant to be here
			p.addMailbox()
			return
		case stEnd:
			return
		}
	}
}

// group reads `name: mailboxes;`. stBad says that there is no group here.
func (p *addressParser) group() state {
	var st state
	if p.text, st = p.lx.phrase(p.text[:0]); st != stMore || !p.lx.at(':') {
		return stBad
	}
	p.lx.i++
	st = p.lx.space()
	p.cur.mailbox = p.save(p.text)
	p.add()
	if st == stMore && !p.lx.at(';') {
		for len(p.list) < p.most {
			p.mailbox()
			if !p.lx.at(',') {
				break
			}
			p.lx.i++
			if p.lx.space() != stMore {
				st = stBad
				break
			}
		}
	}
	if st != stBad && p.lx.at(';') {
		p.lx.i++
		st = p.lx.space()
	} else {
		st = stBad
	}
	p.add()
	if st == stEnd {
		return stEnd
	}
	return stMore
}

func (p *addressParser) mailbox() state {
	start := p.lx.i
	st := p.nameAddr()
	if st == stBad {
		p.lx.i = start
		st = p.addrSpec()
	}
	p.addMailbox()
	return st
}

// nameAddr reads `name <addr>`; stBad says that there is none here.
func (p *addressParser) nameAddr() state {
	var st state
	if p.text, st = p.lx.phrase(p.text[:0]); st != stMore || !p.lx.at('<') {
		return stBad
	}
	if len(p.text) > 0 {
		p.cur.name = p.save(p.text)
	}
	if p.angleAddr() == stBad {
		p.cur.domain = syntaxError
	}
	return p.lx.left()
}

func (p *addressParser) angleAddr() state {
	p.lx.i++
	if p.lx.space() != stMore {
		return stBad
	}
	if p.lx.at('@') {
		if p.route() && p.lx.at(':') {
			p.lx.i++
		} else {
			p.cur.route = invalidRoute
			if p.lx.left() != stMore {
				return stBad
			}
		}
		if p.lx.space() != stMore {
			return stBad
		}
	}
	if !p.lx.at('>') {
		if p.localPart() != stMore {
			return stBad
		}
		if p.lx.at('@') && p.domain() != stMore {
			return stBad
		}
	}
	if !p.lx.at('>') {
		return stBad
	}
	p.lx.i++
	return p.lx.space()
}

// route reads the obsolete `@a,@b`.
func (p *addressParser) route() bool {
	p.text = p.text[:0]
	for p.lx.at('@') {
		if len(p.text) > 0 {
			p.text = append(p.text, ',')
		}
		p.text = append(p.text, '@')
		var st state
		if p.text, st = p.lx.domain(p.text); st != stMore {
			return false
		}
		for p.lx.space() == stMore && p.lx.at(',') {
			p.lx.i++
		}
	}
	if p.lx.left() != stMore {
		return false
	}
	p.cur.route = p.save(p.text)
	return true
}

func (p *addressParser) localPart() state {
	var st state
	if p.lx.at('"') {
		p.text, st = p.lx.quoted(p.text[:0])
	} else {
		p.text, st = p.lx.dotAtom(p.text[:0], true)
	}
	if st != stBad {
		p.cur.mailbox = p.save(p.text)
	}
	return st
}

func (p *addressParser) domain() state {
	var st state
	if p.text, st = p.lx.domain(p.text[:0]); st != stBad {
		p.cur.domain = p.save(p.text)
	}
	return st
}

// addrSpec reads `local@domain (name)`, and what has the place of one: a bare word is a mailbox, several are a name.
func (p *addressParser) addrSpec() state {
	p.lx.comment = p.lx.comment[:0]
	isQuoted := p.lx.at('"')
	st := p.localPart()
	invalid, hasDomain := st != stMore, false
	if st != stEnd && p.lx.at('@') {
		hasDomain = true
		if d := p.domain(); d != stMore {
			st = d
		}
	}
	switch {
	case len(p.lx.comment) > 0:
		p.cur.name = p.save(p.lx.comment)
	case !hasDomain:
		p.text = append(p.text, ' ')
		n := len(p.text)
		if p.text, _ = p.lx.phrase(p.text); len(p.text) != n {
			p.cur.mailbox, p.cur.name = nil, p.save(p.text)
		} else if !isQuoted {
			p.cur.domain = missingDomain
		}
		invalid, st = true, stBad
	}
	if invalid && p.cur.name == nil && p.cur.mailbox != nil && p.cur.domain == nil {
		p.cur.name, p.cur.mailbox = p.cur.mailbox, nil
	}
	return st
}

// AddressReader renders address lists for searching. The zero value is ready; it is for one goroutine at a time.
type AddressReader struct {
	parser addressParser
	list   []address
}

// Text appends the addresses of a folded field value as one line: `Name <mailbox@domain>, Group: ...;`, names quoted
// where they must be, encoded words left as they are. It is what the address search keys look at, so that comments,
// folding and white space do not come between the words of a name or inside an address.
func (r *AddressReader) Text(dst, value []byte) []byte {
	r.parser.mem = r.parser.mem[:0]
	r.list = r.parser.parse(r.list[:0], value, maxAddresses)
	group := false
	for i, a := range r.list {
		mark := a.domain == nil
		if i > 0 && !(mark && group) && dst[len(dst)-1] != ' ' {
			dst = append(dst, ", "...)
		}
		switch {
		case mark && group:
			dst = append(bytes.TrimSuffix(dst, []byte{' '}), ';')
			group = false
		case mark:
			dst = appendWord(dst, a.mailbox, false)
			dst = append(dst, ": "...)
			group = true
		default:
			if a.name != nil {
				dst = append(appendWord(dst, a.name, false), ' ')
			}
			dst = append(dst, '<')
			if a.route != nil {
				dst = append(append(dst, a.route...), ':')
			}
			dst = append(appendWord(dst, a.mailbox, true), '@')
			dst = append(append(dst, a.domain...), '>')
		}
	}
	return dst
}

// appendWord appends a name or a mailbox, quoted where it is no atom; with dots, dots do not matter.
func appendWord(dst, s []byte, dots bool) []byte {
	plain := len(s) > 0
	for _, c := range s {
		plain = plain && (classes[c]&clAtom != 0 || dots && c == '.')
	}
	if plain || bytes.Contains(s, []byte("=?")) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
