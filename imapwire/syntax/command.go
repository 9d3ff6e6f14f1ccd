package syntax

import "bytes"

// Command is one parsed command. It is meant to be reused: Parse resets it and keeps the memory of its arenas. Slices
// in it are views of the frame or of the arenas; see invariant 3 of the package.
//
// Tag, Verb and UID are set as far as they could be read, also when Parse returns an error. Of the other fields only the
// one that belongs to Verb means something.
type Command struct {
	Tag  []byte
	Verb Verb
	UID  bool // UID FETCH, UID STORE, UID SEARCH, UID COPY, UID MOVE, UID EXPUNGE, UID REPLACE

	Auth    AuthArgs    // AUTHENTICATE
	Login   LoginArgs   // LOGIN
	ID      []IDParam   // ID; nil for ID NIL
	Words   []String    // ENABLE: capabilities; COMPRESS: the one mechanism; CREATE: the special uses asked for
	Mailbox String      // SELECT EXAMINE CREATE DELETE RENAME(from) SUBSCRIBE UNSUBSCRIBE STATUS APPEND COPY MOVE REPLACE GETQUOTAROOT
	To      String      // RENAME: the new name
	Root    String      // GETQUOTA: the quota root
	Select  SelectArgs  // SELECT, EXAMINE
	List    ListArgs    // LIST, LSUB
	Status  StatusItems // STATUS
	Set     NumSet      // FETCH STORE COPY MOVE REPLACE (one number); UID EXPUNGE
	Append  []AppendMsg // APPEND, REPLACE (one)
	Search  SearchArgs  // SEARCH
	Fetch   FetchArgs   // FETCH
	Store   StoreArgs   // STORE

	arena arena
}

// arena is the memory that a Command's slices are cut from. It only grows while a frame is parsed: a slice that was cut
// before a growth keeps the old array, whose content does not change any more.
type arena struct {
	ranges   []Range
	flags    []Flag
	strings  []String
	numbers  []uint32
	id       []IDParam
	messages []AppendMsg
	keys     []SearchKey
	items    []FetchItem
	octets   []byte // unescaped quoted strings
}

// arenaKeep is how many elements an arena keeps from one command to the next: one large command must not make a
// connection large for good.
const arenaKeep = 256

// Reset forgets everything but the arenas' memory.
func (c *Command) Reset() {
	a := &c.arena
	*c = Command{arena: arena{
		ranges: reuse(a.ranges), flags: reuse(a.flags), strings: reuse(a.strings), numbers: reuse(a.numbers),
		id: reuse(a.id), messages: reuse(a.messages), keys: reuse(a.keys), items: reuse(a.items),
		octets: reuse(a.octets),
	}}
}

func reuse[T any](s []T) []T {
	if cap(s) > arenaKeep {
		return nil
	}
	return s[:0]
}

// StringKind says how a string stood on the wire.
type StringKind uint8

// The kinds of strings. A streamed literal is no String: see AppendMsg.
const (
	StringAbsent   StringKind = iota // an optional argument that was not given
	StringNIL                        // NIL, where the grammar has nstring
	StringAtom                       // an atom; also the word NIL where the grammar has astring
	StringQuoted                     // "..."
	StringLiteral                    // {n} and {n+}
	StringLiteral8                   // ~{n} and ~{n+}
)

// String is a string argument: its octets as they are meant (escapes of a quoted string undone), and how it was
// written. The octets are a view; see invariant 3 of the package.
type String struct {
	Kind  StringKind
	Bytes []byte
}

// Clone returns a copy that outlives the frame.
func (s String) Clone() String { return String{s.Kind, bytes.Clone(s.Bytes)} }

// Text returns the octets as a Go string: a copy that outlives the frame; "" for NIL and for an absent string.
func (s String) Text() string { return string(s.Bytes) }

// Present says whether there is a value: neither absent nor NIL.
func (s String) Present() bool { return s.Kind > StringNIL }

// IsInbox says whether the string, as a mailbox name, is INBOX in any case (RFC 9051 section 5.1).
func (s String) IsInbox() bool { return EqualFold(s.Bytes, "INBOX") }

// AuthArgs is AUTHENTICATE's arguments (RFC 9051 section 6.2.2).
type AuthArgs struct {
	Mechanism  String
	HasInitial bool   // an initial response was given (SASL-IR, RFC 4959)
	Initial    []byte // base64; empty for "=", which is an empty initial response
}

// LoginArgs is LOGIN's arguments (RFC 9051 section 6.2.3).
type LoginArgs struct {
	User, Password String
}

// IDParam is one field of ID (RFC 2971 section 3.3). Value's Kind is StringNIL where NIL was sent.
type IDParam struct {
	Key, Value String
}

// SelectArgs is the parameters of SELECT and EXAMINE (RFC 7162 sections 3.1.8 and 3.2.5).
type SelectArgs struct {
	CondStore bool
	QResync   bool
	// With QResync:
	UIDValidity uint32
	ModSeq      uint64 // at least 1
	KnownUIDs   NumSet // Ranges nil when not given; no "*"
	SeqMatch    bool   // sequence match data were given
	MatchSeqs   NumSet
	MatchUIDs   NumSet
}

// ListSelect is a set of LIST's selection options (RFC 5258 section 3.1, RFC 6154 section 3).
type ListSelect uint8

// The selection options.
const (
	ListSelectSubscribed ListSelect = 1 << iota
	ListSelectRemote
	ListSelectRecursiveMatch
	ListSelectSpecialUse
)

// ListReturn is a set of LIST's return options (RFC 5258 section 3.2, RFC 5819, RFC 6154).
type ListReturn uint8

// The return options.
const (
	ListReturnSubscribed ListReturn = 1 << iota
	ListReturnChildren
	ListReturnSpecialUse
	ListReturnStatus // ListArgs.Status says which items
)

// ListArgs is LIST's and LSUB's arguments (RFC 9051 section 6.3.9).
type ListArgs struct {
	Extended  bool // selection or return options were given, or a list of patterns (RFC 5258 section 3)
	Select    ListSelect
	Return    ListReturn
	Status    StatusItems
	Reference String
	Patterns  []String
}

// StatusItems is a set of STATUS data items.
type StatusItems uint16

// The STATUS data items.
const (
	StatusMessages StatusItems = 1 << iota
	StatusRecent               // RFC 3501
	StatusUIDNext
	StatusUIDValidity
	StatusUnseen
	StatusDeleted        // RFC 9051
	StatusSize           // RFC 8438, RFC 9051
	StatusHighestModSeq  // RFC 7162
	StatusMailboxID      // RFC 8474
	StatusAppendLimit    // RFC 7889
	StatusDeletedStorage // RFC 9208
)

// Range is one element of a sequence set, with 0 for "*". It is normalized: First <= Last when neither is "*"; of a
// range with one "*" the "*" is Last; a single number has First == Last.
type Range struct{ First, Last uint32 }

// Resolve returns the numbers that the range stands for when top is the largest number in use: lo <= hi always. top may
// be 0 (an empty mailbox); then a lone "*" is 0 to 0.
func (r Range) Resolve(top uint32) (lo, hi uint32) {
	lo, hi = r.First, r.Last
	if lo == 0 {
		lo = top
	}
	if hi == 0 {
		hi = top
	}
	return min(lo, hi), max(lo, hi)
}

// NumSet is a sequence set (RFC 9051 section 9): the ranges in the order written, never expanded, or "$", the saved
// result of a search (RFC 5182).
type NumSet struct {
	Saved  bool
	Ranges []Range
}

// FlagBits names the flags that the protocol knows. The first five have the values that a bit set of the system flags
// usually has: in the order of RFC 9051's flag production.
type FlagBits uint8

// The known flags; 0 is a keyword or a flag extension.
const (
	FlagAnswered FlagBits = 1 << iota
	FlagFlagged
	FlagDeleted
	FlagSeen
	FlagDraft
	FlagRecent // \Recent: a client cannot set it; the server decides what to say
)

// Flag is one flag as it was sent: Bits for the known ones, and the name with its backslash as written.
type Flag struct {
	Bits FlagBits
	Name []byte
}

// LiteralMode says where a literal's octets are.
type LiteralMode uint8

// The modes.
const (
	LiteralPending  LiteralMode = iota // announced; the caller has not decided yet
	LiteralInline                      // in the frame
	LiteralStreamed                    // given out as chunks
	LiteralSkipped                     // read and dropped, on the caller's decision
)

// AppendMsg is one message of APPEND, MULTIAPPEND (RFC 3502) or REPLACE (RFC 8508).
type AppendMsg struct {
	Flags   []Flag
	HasDate bool
	Date    DateTime
	UTF8    bool // UTF8 (~{n} ...) (RFC 6855 section 4)
	Binary  bool // literal8 (RFC 3516)
	Lit     int  // index into the frame's Lits
	Mode    LiteralMode
	Size    uint64
	Bytes   []byte // LiteralInline: the message
}

// SearchReturn is a set of SEARCH's result options (RFC 4731, RFC 5182).
type SearchReturn uint8

// The result options.
const (
	ReturnMin SearchReturn = 1 << iota
	ReturnMax
	ReturnAll
	ReturnCount
	ReturnSave
)

// SearchArgs is SEARCH's arguments (RFC 9051 section 6.4.4).
type SearchArgs struct {
	HasReturn bool         // RETURN was given: the answer is ESEARCH
	Return    SearchReturn // RETURN () is given as ReturnAll, which it means
	Charset   String       // absent when no CHARSET was given
	// Keys is the search program in prefix order: Keys[0] is a SearchAnd over all keys, and Keys[i].End is the index
	// after the last node below Keys[i]. The first operand of Keys[i] is Keys[i+1], the one after Keys[j] is
	// Keys[Keys[j].End].
	Keys []SearchKey
}

// SearchOp is a search key.
type SearchOp uint8

// The search keys; the comment names the fields of SearchKey that count.
const (
	SearchAnd               SearchOp = iota // operands: the program itself, or a list in parentheses
	SearchOr                                // two operands
	SearchNot                               // one operand
	SearchAll                               //
	SearchSeq                               // Set: sequence numbers
	SearchUID                               // Set: UIDs
	SearchAnswered                          //
	SearchDeleted                           //
	SearchDraft                             //
	SearchFlagged                           //
	SearchSeen                              //
	SearchUnanswered                        //
	SearchUndeleted                         //
	SearchUndraft                           //
	SearchUnflagged                         //
	SearchUnseen                            //
	SearchNew                               // RFC 3501
	SearchOld                               // RFC 3501
	SearchRecent                            // RFC 3501
	SearchKeyword                           // Field: the keyword
	SearchUnkeyword                         // Field
	SearchBcc                               // Text
	SearchBody                              // Text
	SearchCc                                // Text
	SearchFrom                              // Text
	SearchSubject                           // Text
	SearchText                              // Text
	SearchTo                                // Text
	SearchHeader                            // Field, Text
	SearchBefore                            // Date
	SearchOn                                // Date
	SearchSince                             // Date
	SearchSentBefore                        // Date
	SearchSentOn                            // Date
	SearchSentSince                         // Date
	SearchSavedBefore                       // Date (RFC 8514)
	SearchSavedOn                           // Date
	SearchSavedSince                        // Date
	SearchSaveDateSupported                 // RFC 8514
	SearchLarger                            // Num: octets
	SearchSmaller                           // Num: octets
	SearchYounger                           // Num: seconds, at least 1 (RFC 5032)
	SearchOlder                             // Num
	SearchModSeq                            // Num; Field: entry name, Entry: its type, both optional (RFC 7162 section 3.1.5)
	SearchEmailID                           // Text: the object id (RFC 8474)
	SearchThreadID                          // Text
)

// EntryType is the type in SEARCH MODSEQ's entry (RFC 7162 section 7).
type EntryType uint8

// The entry types.
const (
	EntryNone EntryType = iota
	EntryAll
	EntryPriv
	EntryShared
)

// SearchKey is one node of a search program.
type SearchKey struct {
	Op    SearchOp
	Entry EntryType
	End   uint32 // index after the last node below this one
	Date  Date
	Num   uint64
	Set   NumSet
	Field String
	Text  String
}

// FetchMacro is how FETCH's items were written.
type FetchMacro uint8

// The macros; FetchArgs.Items holds what they stand for.
const (
	MacroNone FetchMacro = iota
	MacroAll             // FLAGS INTERNALDATE RFC822.SIZE ENVELOPE
	MacroFast            // FLAGS INTERNALDATE RFC822.SIZE
	MacroFull            // FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY
)

// FetchArgs is FETCH's arguments beside the set (RFC 9051 section 6.4.5).
type FetchArgs struct {
	Macro           FetchMacro
	Items           []FetchItem
	HasChangedSince bool
	ChangedSince    uint64 // RFC 7162 section 3.1.4.1; 0 is accepted, and means every message
	Vanished        bool   // RFC 7162 section 3.2.6; only with UID and CHANGEDSINCE
}

// FetchKind is a FETCH data item.
type FetchKind uint8

// The data items.
const (
	FetchFlags FetchKind = iota
	FetchInternalDate
	FetchRFC822Size
	FetchEnvelope
	FetchBody // BODY: the structure without extension data
	FetchBodyStructure
	FetchUID
	FetchModSeq       // RFC 7162
	FetchEmailID      // RFC 8474
	FetchThreadID     // RFC 8474
	FetchSaveDate     // RFC 8514
	FetchPreview      // RFC 8970; Lazy
	FetchRFC822       // RFC 3501; with Peek: the never standardized RFC822.PEEK
	FetchRFC822Header // RFC 3501
	FetchRFC822Text   // RFC 3501
	FetchBodySection  // BODY[...]: Section, Partial, Peek
	FetchBinary       // BINARY[...] (RFC 3516): Section.Part, Partial, Peek
	FetchBinarySize   // BINARY.SIZE[...]: Section.Part
)

// FetchItem is one item of a FETCH.
type FetchItem struct {
	Kind    FetchKind
	Peek    bool // does not set \Seen
	Lazy    bool // PREVIEW (LAZY)
	Partial Partial
	Section BodySection
}

// BodySpec is what a section asks for of the message or part that its numbers name.
type BodySpec uint8

// The section specifiers.
const (
	SpecAll             BodySpec = iota // nothing was written: all of it
	SpecHeader                          // HEADER
	SpecHeaderFields                    // HEADER.FIELDS: BodySection.Fields
	SpecHeaderFieldsNot                 // HEADER.FIELDS.NOT: BodySection.Fields
	SpecText                            // TEXT
	SpecMIME                            // MIME; only with a part
)

// BodySection is what stands between the brackets of BODY[...] (RFC 9051 section 6.4.5.1).
type BodySection struct {
	Part   []uint32 // the part path, each at least 1; empty for the message itself
	Spec   BodySpec
	Fields []String // header field names as written
}

// Partial is <offset.length>.
type Partial struct {
	Set    bool
	Offset uint64
	Length uint64 // at least 1
}

// StoreAction is what STORE does with its flags.
type StoreAction uint8

// The actions.
const (
	StoreReplace StoreAction = iota // FLAGS
	StoreAdd                        // +FLAGS
	StoreRemove                     // -FLAGS
)

// StoreArgs is STORE's arguments beside the set (RFC 9051 section 6.4.6).
type StoreArgs struct {
	Action            StoreAction
	Silent            bool
	HasUnchangedSince bool
	UnchangedSince    uint64 // RFC 7162 section 3.1.3
	Flags             []Flag
}
