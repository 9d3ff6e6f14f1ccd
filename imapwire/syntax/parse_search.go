package syntax

import "math"

// search takes SEARCH's arguments (RFC 9051 section 9, search; RFC 4731, RFC 5182).
func (c *cursor) search() {
	s := &c.c.Search
	if c.takeWord("RETURN") {
		c.sp(c.prod)
		c.searchReturn(s)
		c.sp(c.prod)
	}
	if c.takeWord("CHARSET") {
		c.sp(c.prod)
		s.Charset = c.astring(c.prod)
		c.sp(c.prod)
	}
	root := c.node(SearchKey{Op: SearchAnd})
	for c.searchKey(1); c.more(); {
		c.searchKey(1)
	}
	c.endNode(root)
	s.Keys = c.c.arena.keys
}

// takeWord takes the keyword if it is next as a whole word.
func (c *cursor) takeWord(name string) bool {
	end := c.p + len(name)
	if end > len(c.b) || !EqualFold(c.b[c.p:end], name) || end < len(c.b) && is(c.b[end], clsAtom) {
		return false
	}
	c.p = end
	return true
}

func (c *cursor) searchReturn(s *SearchArgs) {
	s.HasReturn = true
	c.open(c.prod)
	if c.eat(')') {
		s.Return = ReturnAll
		return
	}
	for {
		from := c.p
		switch w := c.keyword(c.prod); {
		case EqualFold(w, "MIN"):
			s.Return |= ReturnMin
		case EqualFold(w, "MAX"):
			s.Return |= ReturnMax
		case EqualFold(w, "ALL"):
			s.Return |= ReturnAll
		case EqualFold(w, "COUNT"):
			s.Return |= ReturnCount
		case EqualFold(w, "SAVE"):
			s.Return |= ReturnSave
		default:
			c.failAt(from, c.prod, "a result option")
		}
		if !c.eat(' ') {
			break
		}
	}
	c.close(c.prod)
}

// node appends a node and returns its index.
func (c *cursor) node(k SearchKey) int {
	a := &c.c.arena
	if len(a.keys) > c.lim.Keys { // the root does not count
		c.failLimit(prodKey)
	}
	k.End = uint32(len(a.keys) + 1)
	a.keys = append(a.keys, k)
	return len(a.keys) - 1
}

// endNode says that all nodes below node i are there.
func (c *cursor) endNode(i int) { c.c.arena.keys[i].End = uint32(len(c.c.arena.keys)) }

const prodKey = "search key"

// searchKey takes one search key, with everything below it.
func (c *cursor) searchKey(depth int) {
	if depth > c.lim.Depth {
		c.failLimit(prodKey)
		return
	}
	switch ch := c.peek(); {
	case ch == '(':
		c.p++
		i := c.node(SearchKey{Op: SearchAnd})
		for c.searchKey(depth + 1); c.eat(' '); {
			c.searchKey(depth + 1)
		}
		c.endNode(i)
		c.close(prodKey)
		return
	case ch == '*' || ch == '$' || is(ch, clsDigit):
		c.node(SearchKey{Op: SearchSeq, Set: c.set(setSaved)})
		return
	}
	from := c.p
	var up [17]byte
	name := c.keyword(prodKey)
	if len(name) > len(up) {
		c.failAt(from, prodKey, "a known key")
		return
	}
	op, known := searchOp(upperInto(up[:], name))
	if !known {
		c.failAt(from, prodKey, "a known key")
		return
	}
	switch op {
	case SearchNot, SearchOr:
		i := c.node(SearchKey{Op: op})
		c.sp(prodKey)
		c.searchKey(depth + 1)
		if op == SearchOr {
			c.sp(prodKey)
			c.searchKey(depth + 1)
		}
		c.endNode(i)
		return
	}
	k := SearchKey{Op: op}
	c.searchValue(&k)
	c.node(k)
}

// searchValue takes what a key compares with, and the space before it.
func (c *cursor) searchValue(k *SearchKey) {
	switch k.Op {
	case SearchUID:
		c.sp(prodKey)
		k.Set = c.set(setSaved)
	case SearchKeyword, SearchUnkeyword:
		c.sp(prodKey)
		k.Field = String{StringAtom, c.atom(prodKey)}
	case SearchBcc, SearchBody, SearchCc, SearchFrom, SearchSubject, SearchText, SearchTo:
		c.sp(prodKey)
		k.Text = c.astring(prodKey)
	case SearchHeader:
		c.sp(prodKey)
		k.Field = c.astring(prodKey)
		c.sp(prodKey)
		k.Text = c.astring(prodKey)
	case SearchBefore, SearchOn, SearchSince, SearchSentBefore, SearchSentOn, SearchSentSince, SearchSavedBefore,
		SearchSavedOn, SearchSavedSince:
		c.sp(prodKey)
		k.Date = c.date()
	case SearchLarger, SearchSmaller:
		c.sp(prodKey)
		k.Num = c.number(math.MaxInt64, prodKey)
	case SearchYounger, SearchOlder:
		c.sp(prodKey)
		k.Num = c.nzNumber(math.MaxUint32, prodKey)
	case SearchModSeq:
		c.sp(prodKey)
		c.searchModSeq(k)
	case SearchEmailID, SearchThreadID:
		c.sp(prodKey)
		id := c.span(clsObject)
		if len(id) == 0 || len(id) > 255 {
			c.fail(prodKey, "an object id")
		}
		k.Text = String{StringAtom, id}
	}
}

// searchModSeq takes an optional entry and a mod-sequence (RFC 7162 section 3.1.5).
func (c *cursor) searchModSeq(k *SearchKey) {
	if c.peek() == '"' {
		k.Field = c.quoted(prodKey)
		c.sp(prodKey)
		from := c.p
		switch w := c.keyword(prodKey); {
		case EqualFold(w, "ALL"):
			k.Entry = EntryAll
		case EqualFold(w, "PRIV"):
			k.Entry = EntryPriv
		case EqualFold(w, "SHARED"):
			k.Entry = EntryShared
		default:
			c.failAt(from, prodKey, "an entry type")
		}
		c.sp(prodKey)
	}
	k.Num = c.number(math.MaxInt64, prodKey)
}

// searchOp returns the key with the name, which is in upper case.
func searchOp(name []byte) (op SearchOp, known bool) {
	switch string(name) {
	case "ALL":
		return SearchAll, true
	case "ANSWERED":
		return SearchAnswered, true
	case "BCC":
		return SearchBcc, true
	case "BEFORE":
		return SearchBefore, true
	case "BODY":
		return SearchBody, true
	case "CC":
		return SearchCc, true
	case "DELETED":
		return SearchDeleted, true
	case "DRAFT":
		return SearchDraft, true
	case "EMAILID":
		return SearchEmailID, true
	case "FLAGGED":
		return SearchFlagged, true
	case "FROM":
		return SearchFrom, true
	case "HEADER":
		return SearchHeader, true
	case "KEYWORD":
		return SearchKeyword, true
	case "LARGER":
		return SearchLarger, true
	case "MODSEQ":
		return SearchModSeq, true
	case "NEW":
		return SearchNew, true
	case "NOT":
		return SearchNot, true
	case "OLD":
		return SearchOld, true
	case "OLDER":
		return SearchOlder, true
	case "ON":
		return SearchOn, true
	case "OR":
		return SearchOr, true
	case "RECENT":
		return SearchRecent, true
	case "SAVEDATESUPPORTED":
		return SearchSaveDateSupported, true
	case "SAVEDBEFORE":
		return SearchSavedBefore, true
	case "SAVEDON":
		return SearchSavedOn, true
	case "SAVEDSINCE":
		return SearchSavedSince, true
	case "SEEN":
		return SearchSeen, true
	case "SENTBEFORE":
		return SearchSentBefore, true
	case "SENTON":
		return SearchSentOn, true
	case "SENTSINCE":
		return SearchSentSince, true
	case "SINCE":
		return SearchSince, true
	case "SMALLER":
		return SearchSmaller, true
	case "SUBJECT":
		return SearchSubject, true
	case "TEXT":
		return SearchText, true
	case "THREADID":
		return SearchThreadID, true
	case "TO":
		return SearchTo, true
	case "UID":
		return SearchUID, true
	case "UNANSWERED":
		return SearchUnanswered, true
	case "UNDELETED":
		return SearchUndeleted, true
	case "UNDRAFT":
		return SearchUndraft, true
	case "UNFLAGGED":
		return SearchUnflagged, true
	case "UNKEYWORD":
		return SearchUnkeyword, true
	case "UNSEEN":
		return SearchUnseen, true
	case "YOUNGER":
		return SearchYounger, true
	}
	return 0, false
}
