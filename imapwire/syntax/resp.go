package syntax

// RespKind says what a server response is.
type RespKind uint8

// The kinds of response (RFC 9051 section 7 and the extensions named).
const (
	RespGarbage    RespKind = iota // a line that is no IMAP response; Text holds it
	RespOther                      // an untagged response of no known kind: Name and Text hold it
	RespContinue                   // "+": Text
	RespTagged                     // the end of a command: Tag, Status, Code, Text
	RespStatus                     // untagged OK, NO, BAD, BYE or PREAUTH: Status, Code, Text
	RespCapability                 // Words
	RespEnabled                    // Words (RFC 5161)
	RespList                       // LIST, LSUB or XLIST: List
	RespMailbox                    // STATUS: Mailbox
	RespSearch                     // Nums, ModSeq (RFC 7162 section 3.1.5)
	RespESearch                    // ESearch, Nums, ModSeq (RFC 4731)
	RespFlags                      // Words
	RespExists                     // Num
	RespRecent                     // Num
	RespExpunge                    // Num
	RespVanished                   // Nums, Earlier (RFC 7162 section 3.2.10)
	RespFetch                      // Num, Fetch
	RespID                         // Words: name, value, name, value (RFC 2971); empty for NIL
	RespNamespace                  // Namespaces (RFC 2342)
)

// StatusKind is the condition of a status response.
type StatusKind uint8

// The conditions (RFC 9051 section 7.1).
const (
	StatusNone StatusKind = iota
	StatusOK
	StatusNO
	StatusBAD
	StatusBYE
	StatusPREAUTH
)

var statusNames = [...]string{"", "OK", "NO", "BAD", "BYE", "PREAUTH"}

// String returns the condition as it stands on the wire.
func (s StatusKind) String() string { return statusNames[s] }

// Response is one server response, or one part of a FETCH response whose body is streamed. Every slice in it is a
// view of the frame it was parsed from or of storage that the parser uses again: valid until the next part is parsed.
//
// A response is parsed as far as it makes sense. Malformed says that something in it made none: what was understood
// is set, and the rest is missing, so that a list in a malformed response is never complete.
type Response struct {
	Kind      RespKind
	Malformed bool

	Tag    []byte
	Status StatusKind
	Code   RespCode
	Name   []byte // RespOther: the first word, as sent
	Text   []byte // without spaces around it

	Num     uint32  // message count or sequence number; 4294967295 where the server's number was larger
	Nums    []Range // as sent, without "*"; a range that goes on from the one before it is joined to it
	ModSeq  uint64  // SEARCH and ESEARCH; 0: not given
	Earlier bool    // VANISHED (EARLIER)
	Words   [][]byte

	Fetch      FetchData
	List       ListData
	Mailbox    MailboxData
	ESearch    ESearchData
	Namespaces [3][]Namespace // personal, other users', shared
}

// RespCode is a response code: the bracketed part of a status response (RFC 9051 section 7.1, RFC 5530 and others).
type RespCode struct {
	ID    CodeID
	Name  []byte // as sent; empty without a code
	Arg   []byte // what stands between the name and the bracket, without spaces around it
	Num   uint64 // the first number of Arg: of HIGHESTMODSEQ, UIDNEXT, UIDVALIDITY, UNSEEN, APPENDUID, COPYUID, ...
	Words [][]byte
	// Source and Dest are COPYUID's sets; Dest is APPENDUID's too (RFC 4315 section 3).
	Source, Dest []Range
}

// CodeID names the response codes that somebody acts upon.
type CodeID uint8

// The codes.
const (
	CodeNone CodeID = iota
	CodeUnknown
	CodeAlert
	CodeAlreadyExists
	CodeAppendUID
	CodeAuthenticationFailed
	CodeAuthorizationFailed
	CodeBadCharset
	CodeCannot
	CodeCapability
	CodeClientBug
	CodeClosed
	CodeContactAdmin
	CodeCopyUID
	CodeCorruption
	CodeExpired
	CodeExpungeIssued
	CodeHasChildren
	CodeHighestModSeq
	CodeInUse
	CodeLimit
	CodeModified
	CodeNoModSeq
	CodeNonExistent
	CodeNoPerm
	CodeOverQuota
	CodeParse
	CodePermanentFlags
	CodePrivacyRequired
	CodeReadOnly
	CodeReadWrite
	CodeServerBug
	CodeThrottled
	CodeTooBig
	CodeTryCreate
	CodeUIDNext
	CodeUIDNotSticky
	CodeUIDValidity
	CodeUnavailable
	CodeUnknownCTE
	CodeUnseen
	CodeUseAttr
)

var codeNames = [...]string{
	CodeAlert: "ALERT", CodeAlreadyExists: "ALREADYEXISTS", CodeAppendUID: "APPENDUID",
	CodeAuthenticationFailed: "AUTHENTICATIONFAILED", CodeAuthorizationFailed: "AUTHORIZATIONFAILED",
	CodeBadCharset: "BADCHARSET", CodeCannot: "CANNOT", CodeCapability: "CAPABILITY", CodeClientBug: "CLIENTBUG",
	CodeClosed: "CLOSED", CodeContactAdmin: "CONTACTADMIN", CodeCopyUID: "COPYUID", CodeCorruption: "CORRUPTION",
	CodeExpired: "EXPIRED", CodeExpungeIssued: "EXPUNGEISSUED", CodeHasChildren: "HASCHILDREN",
	CodeHighestModSeq: "HIGHESTMODSEQ", CodeInUse: "INUSE", CodeLimit: "LIMIT", CodeModified: "MODIFIED",
	CodeNoModSeq: "NOMODSEQ", CodeNonExistent: "NONEXISTENT", CodeNoPerm: "NOPERM", CodeOverQuota: "OVERQUOTA",
	CodeParse: "PARSE", CodePermanentFlags: "PERMANENTFLAGS", CodePrivacyRequired: "PRIVACYREQUIRED",
	CodeReadOnly: "READ-ONLY", CodeReadWrite: "READ-WRITE", CodeServerBug: "SERVERBUG", CodeThrottled: "THROTTLED",
	CodeTooBig: "TOOBIG", CodeTryCreate: "TRYCREATE", CodeUIDNext: "UIDNEXT", CodeUIDNotSticky: "UIDNOTSTICKY",
	CodeUIDValidity: "UIDVALIDITY", CodeUnavailable: "UNAVAILABLE", CodeUnknownCTE: "UNKNOWN-CTE",
	CodeUnseen: "UNSEEN", CodeUseAttr: "USEATTR",
}

// codeID returns the code with the name, in any case.
func codeID(name []byte) CodeID {
	for id := CodeAlert; int(id) < len(codeNames); id++ {
		if EqualFold(name, codeNames[id]) {
			return id
		}
	}
	return CodeUnknown
}

// FetchHas tells which data items a FETCH response gave in a usable form.
type FetchHas uint16

// The data items.
const (
	HasUID FetchHas = 1 << iota
	HasFlags
	HasDate
	HasSize
	HasModSeq
	HasEmailID
	HasThreadID
	HasGmailMessage
	HasGmailThread
	HasGmailLabels
)

// FetchData is the data of a FETCH response (RFC 9051 section 7.5.2). Items that nobody asks for are skipped.
type FetchData struct {
	Has       FetchHas
	Continued bool // this part goes on with the response of the part before
	More      bool // the last of Sections is streamed, and another part follows it

	UID      uint32
	Flags    [][]byte // with their backslash
	Date     []byte   // INTERNALDATE's string; ParseInternalDate reads it
	Size     int64
	ModSeq   uint64
	EmailID  []byte
	ThreadID []byte
	// Gmail's own identifiers of message and thread, and its labels.
	GmailMessage uint64
	GmailThread  uint64
	GmailLabels  [][]byte
	Sections     []Section
}

// SectionKind says what a section holds.
type SectionKind uint8

// The kinds of section.
const (
	HoldsOther   SectionKind = iota // a part, a part's MIME header, BINARY[n]
	HoldsMessage                    // BODY[] or RFC822: the message
	HoldsHeader                     // BODY[HEADER], BODY[HEADER.FIELDS (...)] or RFC822.HEADER
	HoldsText                       // BODY[TEXT] or RFC822.TEXT
)

// Section is a BODY[...], BINARY[...] or RFC822 item with its bytes.
type Section struct {
	Kind   SectionKind
	Name   []byte // as echoed, for example "BODY[]"
	Origin int64  // the number in <>; -1 without
	Nil    bool   // the server answered NIL
	Data   []byte // nil when Streamed
	// Streamed sections do not stand in Data: Size bytes follow, outside of any part.
	Streamed bool
	Size     int64
}

// ListData is the data of a LIST, LSUB or XLIST response (RFC 9051 section 7.3.1).
type ListData struct {
	Attrs     [][]byte
	Delimiter byte   // 0 is NIL
	Name      []byte // unquoted, otherwise as sent
	OldName   []byte // OLDNAME (RFC 9051 section 6.3.9.7); nil without
	ChildInfo bool   // CHILDINFO (RFC 5258 section 4) was given
	LSub      bool
}

// StatusHas tells which data items a STATUS response gave.
type StatusHas uint16

// The STATUS items.
const (
	HasMessages StatusHas = 1 << iota
	HasRecent
	HasUIDNext
	HasUIDValidity
	HasUnseen
	HasDeleted
	HasTotalSize
	HasHighestModSeq
	HasMailboxID
)

// MailboxData is the data of a STATUS response (RFC 9051 section 7.3.4).
type MailboxData struct {
	Name          []byte
	Has           StatusHas
	Messages      uint32
	Recent        uint32
	UIDNext       uint32
	UIDValidity   uint32
	Unseen        uint32
	Deleted       uint32
	Size          int64
	HighestModSeq uint64
	MailboxID     []byte
}

// ESearchData is the data of an ESEARCH response; ALL is in Response.Nums.
type ESearchData struct {
	Tag   []byte // the correlator; nil without
	UID   bool
	All   bool // ALL was given
	Count int64
	Min   uint32
	Max   uint32
}

// Namespace is one namespace: its prefix and delimiter.
type Namespace struct {
	Prefix    []byte
	Delimiter byte // 0 is NIL
}
