package server

import (
	"unicode/utf8"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/search"
	"imapped/imapwire/syntax"
)

// queryBuilder turns a parsed search program into domain's.
type queryBuilder struct {
	view    *mailbox.View
	saved   mailbox.Set
	keys    []syntax.SearchKey
	charset string // of the strings; empty: UTF-8
	modSeq  bool   // MODSEQ was asked: the answer names one
	wrong   string // why the program makes no sense
}

var searchFlags = map[syntax.SearchOp]struct {
	flags flag.System
	unset bool
}{
	syntax.SearchAnswered: {flag.Answered, false}, syntax.SearchUnanswered: {flag.Answered, true},
	syntax.SearchDeleted: {flag.Deleted, false}, syntax.SearchUndeleted: {flag.Deleted, true},
	syntax.SearchDraft: {flag.Draft, false}, syntax.SearchUndraft: {flag.Draft, true},
	syntax.SearchFlagged: {flag.Flagged, false}, syntax.SearchUnflagged: {flag.Flagged, true},
	syntax.SearchSeen: {flag.Seen, false}, syntax.SearchUnseen: {flag.Seen, true},
}

var searchTexts = map[syntax.SearchOp]search.Op{
	syntax.SearchBcc: search.Bcc, syntax.SearchBody: search.Body, syntax.SearchCc: search.Cc,
	syntax.SearchFrom: search.From, syntax.SearchSubject: search.Subject, syntax.SearchText: search.Text,
	syntax.SearchTo: search.To, syntax.SearchHeader: search.Header,
}

var searchDays = map[syntax.SearchOp]search.Op{
	syntax.SearchBefore: search.Before, syntax.SearchOn: search.On, syntax.SearchSince: search.Since,
	syntax.SearchSentBefore: search.SentBefore, syntax.SearchSentOn: search.SentOn,
	syntax.SearchSentSince: search.SentSince, syntax.SearchSavedBefore: search.SavedBefore,
	syntax.SearchSavedOn: search.SavedOn, syntax.SearchSavedSince: search.SavedSince,
}

var searchNumbers = map[syntax.SearchOp]search.Op{
	syntax.SearchLarger: search.Larger, syntax.SearchSmaller: search.Smaller, syntax.SearchYounger: search.Younger,
	syntax.SearchOlder: search.Older, syntax.SearchModSeq: search.ModSeq,
}

func not(q search.Query) search.Query { return search.Query{Op: search.Not, Kids: []search.Query{q}} }

func seen() search.Query { return search.Query{Op: search.SysFlags, Flags: flag.Seen} }

// build returns node i of the program. The parser has bounded its depth.
func (b *queryBuilder) build(i uint32) search.Query {
	k := &b.keys[i]
	if f, is := searchFlags[k.Op]; is {
		q := search.Query{Op: search.SysFlags, Flags: f.flags}
		if f.unset {
			return not(q)
		}
		return q
	}
	if op, is := searchTexts[k.Op]; is {
		return search.Query{Op: op, Field: k.Field.Text(), Text: b.text(k.Text)}
	}
	if op, is := searchDays[k.Op]; is {
		return search.Query{Op: op, Day: k.Date.Days()}
	}
	if op, is := searchNumbers[k.Op]; is {
		b.modSeq = b.modSeq || op == search.ModSeq
		return search.Query{Op: op, Num: k.Num}
	}
	switch k.Op {
	case syntax.SearchAnd, syntax.SearchOr, syntax.SearchNot:
		q := search.Query{Op: map[syntax.SearchOp]search.Op{
			syntax.SearchAnd: search.And, syntax.SearchOr: search.Or, syntax.SearchNot: search.Not,
		}[k.Op]}
		for n := i + 1; n < k.End; n = b.keys[n].End {
			q.Kids = append(q.Kids, b.build(n))
		}
		return q
	case syntax.SearchSeq:
		if k.Set.Saved {
			return search.Query{Op: search.UIDs, Set: b.saved}
		}
		// A number that does not exist matches no message: an empty mailbox has to be searchable.
		seqs, _ := b.view.Seqs(domainRanges(k.Set.Ranges))
		return search.Query{Op: search.Seqs, Set: seqs}
	case syntax.SearchUID:
		if k.Set.Saved {
			return search.Query{Op: search.UIDs, Set: b.saved}
		}
		return search.Query{Op: search.UIDs, Set: uidSet(b.view, k.Set.Ranges)}
	case syntax.SearchNew:
		return search.Query{Op: search.And, Kids: []search.Query{{Op: search.Recent}, not(seen())}}
	case syntax.SearchOld:
		return not(search.Query{Op: search.Recent})
	case syntax.SearchRecent:
		return search.Query{Op: search.Recent}
	case syntax.SearchKeyword:
		return search.Query{Op: search.Keyword, Text: k.Field.Text()}
	case syntax.SearchUnkeyword:
		return not(search.Query{Op: search.Keyword, Text: k.Field.Text()})
	case syntax.SearchSaveDateSupported:
		return search.Query{Op: search.SavedSupport}
	case syntax.SearchEmailID:
		return object(search.EmailID, mailbox.EmailKind, k.Text)
	case syntax.SearchThreadID:
		return object(search.ThreadID, mailbox.ThreadKind, k.Text)
	}
	return search.Query{Op: search.And} // ALL
}

// object asks for an object identifier; one that this server cannot have given matches nothing.
func object(op search.Op, kind byte, s syntax.String) search.Query {
	id, ok := mailbox.ParseObjectID(kind, s.Text())
	if !ok {
		return not(search.Query{Op: search.And})
	}
	return search.Query{Op: op, Object: id}
}

// text converts a string to UTF-8.
func (b *queryBuilder) text(s syntax.String) string {
	if b.charset == "" {
		if !utf8.Valid(s.Bytes) {
			b.wrong = "A search string is not UTF-8"
		}
		return s.Text()
	}
	var d message.TextDecoder
	d.Reset(b.charset)
	return string(d.Flush(d.Decode(nil, s.Bytes)))
}
