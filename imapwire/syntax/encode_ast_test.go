package syntax

import (
	"fmt"
	"strconv"
)

// encodeCommand writes a parsed command back, each string in the form that it had.
func encodeCommand(c *Command) []byte {
	w := &CommandWriter{LiteralPlus: true, UTF8: true}
	w.Raw(string(c.Tag)).SP()
	if c.UID {
		w.Raw("UID ")
	}
	w.Raw(c.Verb.String())
	encodeArgs(w, c)
	return w.Buf
}

func encodeArgs(w *CommandWriter, c *Command) {
	switch c.Verb {
	case VerbAuthenticate:
		put(w.SP(), c.Auth.Mechanism)
		if c.Auth.HasInitial && len(c.Auth.Initial) == 0 {
			w.Raw(" =")
		} else if c.Auth.HasInitial {
			w.SP().Raw(string(c.Auth.Initial))
		}
	case VerbLogin:
		put(w.SP(), c.Login.User)
		put(w.SP(), c.Login.Password)
	case VerbEnable, VerbCompress:
		for _, s := range c.Words {
			put(w.SP(), s)
		}
	case VerbID:
		if c.ID == nil {
			w.Raw(" NIL")
			return
		}
		w.Raw(" (")
		for i, p := range c.ID {
			if i > 0 {
				w.SP()
			}
			put(w, p.Key)
			put(w.SP(), p.Value)
		}
		w.Raw(")")
	case VerbSelect, VerbExamine:
		put(w.SP(), c.Mailbox)
		encodeSelect(w, &c.Select)
	case VerbCreate:
		put(w.SP(), c.Mailbox)
		if c.Words != nil {
			w.Raw(" (USE (")
			for i, s := range c.Words {
				if i > 0 {
					w.SP()
				}
				put(w, s)
			}
			w.Raw("))")
		}
	case VerbGetQuota:
		put(w.SP(), c.Root)
	case VerbDelete, VerbSubscribe, VerbUnsubscribe, VerbGetQuotaRoot:
		put(w.SP(), c.Mailbox)
	case VerbRename:
		put(w.SP(), c.Mailbox)
		put(w.SP(), c.To)
	case VerbList, VerbLsub:
		encodeList(w, &c.List)
	case VerbStatus:
		put(w.SP(), c.Mailbox)
		encodeStatus(w.SP(), c.Status)
	case VerbAppend:
		put(w.SP(), c.Mailbox)
		encodeMessages(w, c.Append)
	case VerbReplace:
		put(w.SP().Set(c.Set).SP(), c.Mailbox)
		encodeMessages(w, c.Append)
	case VerbExpunge:
		if c.UID {
			w.SP().Set(c.Set)
		}
	case VerbCopy, VerbMove:
		put(w.SP().Set(c.Set).SP(), c.Mailbox)
	case VerbSearch:
		encodeSearch(w, &c.Search)
	case VerbFetch:
		encodeFetch(w.SP().Set(c.Set), &c.Fetch)
	case VerbStore:
		encodeStore(w.SP().Set(c.Set), &c.Store)
	}
}

func put(w *CommandWriter, s String) {
	switch s.Kind {
	case StringNIL:
		w.Raw("NIL")
	case StringAtom:
		w.Raw(string(s.Bytes))
	case StringQuoted:
		w.Buf = AppendQuoted(w.Buf, s.Bytes)
	case StringLiteral:
		w.Literal(s.Bytes)
	default:
		w.Raw(fmt.Sprintf("?%d?", s.Kind))
	}
}

func encodeSelect(w *CommandWriter, s *SelectArgs) {
	if !s.CondStore && !s.QResync {
		return
	}
	w.Raw(" (")
	if s.CondStore {
		w.Raw("CONDSTORE")
	}
	if s.CondStore && s.QResync {
		w.SP()
	}
	if s.QResync {
		w.Raw("QRESYNC (").Number(uint64(s.UIDValidity)).SP().Number(s.ModSeq)
		if len(s.KnownUIDs.Ranges) > 0 {
			w.SP().Set(s.KnownUIDs)
		}
		if s.SeqMatch {
			w.Raw(" (").Set(s.MatchSeqs).SP().Set(s.MatchUIDs).Raw(")")
		}
		w.Raw(")")
	}
	w.Raw(")")
}

func bitNames[B ~uint8 | ~uint16](bits B, names ...string) []string {
	var out []string
	for i, n := range names {
		if bits&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

func encodeWords(w *CommandWriter, names []string) {
	w.Raw("(")
	for i, n := range names {
		if i > 0 {
			w.SP()
		}
		w.Raw(n)
	}
	w.Raw(")")
}

func encodeStatus(w *CommandWriter, items StatusItems) {
	encodeWords(w, bitNames(items, "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ",
		"MAILBOXID", "APPENDLIMIT", "DELETED-STORAGE"))
}

func encodeList(w *CommandWriter, l *ListArgs) {
	if l.Select != 0 {
		encodeWords(w.SP(), bitNames(l.Select, "SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"))
	}
	put(w.SP(), l.Reference)
	w.SP()
	if l.Extended {
		w.Raw("(")
	}
	for i, p := range l.Patterns {
		if i > 0 {
			w.SP()
		}
		put(w, p)
	}
	if l.Extended {
		w.Raw(")")
	}
	if l.Return == 0 {
		return
	}
	names := bitNames(l.Return, "SUBSCRIBED", "CHILDREN", "SPECIAL-USE")
	if l.Return&ListReturnStatus != 0 {
		sub := &CommandWriter{}
		encodeStatus(sub.Raw("STATUS "), l.Status)
		names = append(names, string(sub.Buf))
	}
	encodeWords(w.Raw(" RETURN "), names)
}

func encodeMessages(w *CommandWriter, messages []AppendMsg) {
	for _, m := range messages {
		if len(m.Flags) > 0 {
			w.SP().Flags(m.Flags)
		}
		if m.HasDate {
			w.SP()
			w.Buf = AppendDateTime(w.Buf, m.Date)
		}
		w.SP()
		if m.UTF8 {
			w.Raw("UTF8 (")
		}
		w.LiteralHeader(int64(m.Size), m.Binary).Raw(string(m.Bytes))
		if m.UTF8 {
			w.Raw(")")
		}
	}
}

func encodeSearch(w *CommandWriter, s *SearchArgs) {
	if s.HasReturn {
		encodeWords(w.Raw(" RETURN "), bitNames(s.Return, "MIN", "MAX", "ALL", "COUNT", "SAVE"))
	}
	if s.Charset.Kind != StringAbsent {
		put(w.Raw(" CHARSET "), s.Charset)
	}
	for i := uint32(1); i < s.Keys[0].End; i = s.Keys[i].End {
		encodeKey(w.SP(), s.Keys, i)
	}
}

var searchNames = map[SearchOp]string{
	SearchAll: "ALL", SearchUID: "UID", SearchAnswered: "ANSWERED", SearchDeleted: "DELETED", SearchDraft: "DRAFT",
	SearchFlagged: "FLAGGED", SearchSeen: "SEEN", SearchUnanswered: "UNANSWERED", SearchUndeleted: "UNDELETED",
	SearchUndraft: "UNDRAFT", SearchUnflagged: "UNFLAGGED", SearchUnseen: "UNSEEN", SearchNew: "NEW", SearchOld: "OLD",
	SearchRecent: "RECENT", SearchKeyword: "KEYWORD", SearchUnkeyword: "UNKEYWORD", SearchBcc: "BCC", SearchBody: "BODY",
	SearchCc: "CC", SearchFrom: "FROM", SearchSubject: "SUBJECT", SearchText: "TEXT", SearchTo: "TO", SearchHeader: "HEADER",
	SearchBefore: "BEFORE", SearchOn: "ON", SearchSince: "SINCE", SearchSentBefore: "SENTBEFORE", SearchSentOn: "SENTON",
	SearchSentSince: "SENTSINCE", SearchSavedBefore: "SAVEDBEFORE", SearchSavedOn: "SAVEDON", SearchSavedSince: "SAVEDSINCE",
	SearchSaveDateSupported: "SAVEDATESUPPORTED", SearchLarger: "LARGER", SearchSmaller: "SMALLER", SearchYounger: "YOUNGER",
	SearchOlder: "OLDER", SearchModSeq: "MODSEQ", SearchEmailID: "EMAILID", SearchThreadID: "THREADID", SearchNot: "NOT",
	SearchOr: "OR",
}

func encodeKey(w *CommandWriter, keys []SearchKey, i uint32) {
	k := keys[i]
	if k.Op == SearchAnd {
		w.Raw("(")
	}
	w.Raw(searchNames[k.Op])
	for j := i + 1; j < k.End; j = keys[j].End {
		if k.Op != SearchAnd || j > i+1 {
			w.SP()
		}
		encodeKey(w, keys, j)
	}
	if k.Op == SearchAnd {
		w.Raw(")")
	}
	if k.Op == SearchSeq {
		w.Set(k.Set)
	} else if len(k.Set.Ranges) > 0 || k.Set.Saved {
		w.SP().Set(k.Set)
	}
	if k.Field.Kind != StringAbsent {
		put(w.SP(), k.Field)
	}
	if k.Entry != EntryNone {
		w.Raw([]string{EntryAll: " all", EntryPriv: " priv", EntryShared: " shared"}[k.Entry])
	}
	if k.Text.Kind != StringAbsent {
		put(w.SP(), k.Text)
	}
	if k.Date != (Date{}) {
		w.SP()
		w.Buf = AppendDate(w.Buf, k.Date)
	}
	switch k.Op {
	case SearchLarger, SearchSmaller, SearchYounger, SearchOlder, SearchModSeq:
		w.SP().Number(k.Num)
	}
}

var fetchNames = map[FetchKind]string{
	FetchFlags: "FLAGS", FetchInternalDate: "INTERNALDATE", FetchRFC822Size: "RFC822.SIZE", FetchEnvelope: "ENVELOPE",
	FetchBody: "BODY", FetchBodyStructure: "BODYSTRUCTURE", FetchUID: "UID", FetchModSeq: "MODSEQ", FetchEmailID: "EMAILID",
	FetchThreadID: "THREADID", FetchSaveDate: "SAVEDATE", FetchPreview: "PREVIEW", FetchRFC822: "RFC822",
	FetchRFC822Header: "RFC822.HEADER", FetchRFC822Text: "RFC822.TEXT", FetchBodySection: "BODY", FetchBinary: "BINARY",
	FetchBinarySize: "BINARY.SIZE",
}

func encodeFetch(w *CommandWriter, f *FetchArgs) {
	if f.Macro != MacroNone {
		w.Raw([]string{MacroAll: " ALL", MacroFast: " FAST", MacroFull: " FULL"}[f.Macro])
	} else {
		w.Raw(" (")
		for i := range f.Items {
			if i > 0 {
				w.SP()
			}
			encodeItem(w, &f.Items[i])
		}
		w.Raw(")")
	}
	if f.HasChangedSince {
		w.Raw(" (CHANGEDSINCE ").Number(f.ChangedSince)
		if f.Vanished {
			w.Raw(" VANISHED")
		}
		w.Raw(")")
	}
}

func encodeItem(w *CommandWriter, it *FetchItem) {
	w.Raw(fetchNames[it.Kind])
	if it.Peek && it.Kind != FetchRFC822Header {
		w.Raw(".PEEK")
	}
	if it.Lazy {
		w.Raw(" (LAZY)")
	}
	switch it.Kind {
	case FetchBodySection, FetchBinary, FetchBinarySize:
	default:
		return
	}
	s := &it.Section
	w.Raw("[")
	for i, n := range s.Part {
		if i > 0 {
			w.Raw(".")
		}
		w.Number(uint64(n))
	}
	if s.Spec != SpecAll && len(s.Part) > 0 {
		w.Raw(".")
	}
	w.Raw([]string{"", "HEADER", "HEADER.FIELDS ", "HEADER.FIELDS.NOT ", "TEXT", "MIME"}[s.Spec])
	if s.Fields != nil {
		w.Raw("(")
		for i, n := range s.Fields {
			if i > 0 {
				w.SP()
			}
			put(w, n)
		}
		w.Raw(")")
	}
	w.Raw("]")
	if it.Partial.Set {
		w.Raw("<" + strconv.FormatUint(it.Partial.Offset, 10) + "." + strconv.FormatUint(it.Partial.Length, 10) + ">")
	}
}

func encodeStore(w *CommandWriter, s *StoreArgs) {
	if s.HasUnchangedSince {
		w.Raw(" (UNCHANGEDSINCE ").Number(s.UnchangedSince).Raw(")")
	}
	w.Raw([]string{StoreReplace: " FLAGS", StoreAdd: " +FLAGS", StoreRemove: " -FLAGS"}[s.Action])
	if s.Silent {
		w.Raw(".SILENT")
	}
	w.SP().Flags(s.Flags)
}
