package syntax

// Verb is a command's name. The UID forms are the same verb with Command.UID set.
type Verb uint8

// The commands that the parser knows.
const (
	VerbUnknown Verb = iota
	VerbCapability
	VerbNoop
	VerbLogout
	VerbStartTLS
	VerbAuthenticate
	VerbLogin
	VerbEnable
	VerbID
	VerbCompress
	VerbSelect
	VerbExamine
	VerbCreate
	VerbDelete
	VerbRename
	VerbSubscribe
	VerbUnsubscribe
	VerbList
	VerbLsub
	VerbNamespace
	VerbStatus
	VerbAppend
	VerbIdle
	VerbCheck
	VerbClose
	VerbUnselect
	VerbExpunge
	VerbSearch
	VerbFetch
	VerbStore
	VerbCopy
	VerbMove
	VerbReplace
	VerbGetQuota
	VerbGetQuotaRoot
)

var verbNames = [...]string{
	VerbUnknown: "", VerbCapability: "CAPABILITY", VerbNoop: "NOOP", VerbLogout: "LOGOUT", VerbStartTLS: "STARTTLS",
	VerbAuthenticate: "AUTHENTICATE", VerbLogin: "LOGIN", VerbEnable: "ENABLE", VerbID: "ID", VerbCompress: "COMPRESS",
	VerbSelect: "SELECT", VerbExamine: "EXAMINE", VerbCreate: "CREATE", VerbDelete: "DELETE", VerbRename: "RENAME",
	VerbSubscribe: "SUBSCRIBE", VerbUnsubscribe: "UNSUBSCRIBE", VerbList: "LIST", VerbLsub: "LSUB",
	VerbNamespace: "NAMESPACE", VerbStatus: "STATUS", VerbAppend: "APPEND", VerbIdle: "IDLE", VerbCheck: "CHECK",
	VerbClose: "CLOSE", VerbUnselect: "UNSELECT", VerbExpunge: "EXPUNGE", VerbSearch: "SEARCH", VerbFetch: "FETCH",
	VerbStore: "STORE", VerbCopy: "COPY", VerbMove: "MOVE", VerbReplace: "REPLACE",
	VerbGetQuota: "GETQUOTA", VerbGetQuotaRoot: "GETQUOTAROOT",
}

// String returns the name in upper case, "" for VerbUnknown.
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return ""
}

// LookupVerb returns the verb with the name, in any case, or VerbUnknown. It does not allocate.
func LookupVerb(name []byte) Verb {
	var up [12]byte
	if len(name) > len(up) {
		return VerbUnknown
	}
	switch string(upperInto(up[:], name)) {
	case "CAPABILITY":
		return VerbCapability
	case "NOOP":
		return VerbNoop
	case "LOGOUT":
		return VerbLogout
	case "STARTTLS":
		return VerbStartTLS
	case "AUTHENTICATE":
		return VerbAuthenticate
	case "LOGIN":
		return VerbLogin
	case "ENABLE":
		return VerbEnable
	case "ID":
		return VerbID
	case "COMPRESS":
		return VerbCompress
	case "SELECT":
		return VerbSelect
	case "EXAMINE":
		return VerbExamine
	case "CREATE":
		return VerbCreate
	case "DELETE":
		return VerbDelete
	case "RENAME":
		return VerbRename
	case "SUBSCRIBE":
		return VerbSubscribe
	case "UNSUBSCRIBE":
		return VerbUnsubscribe
	case "LIST":
		return VerbList
	case "LSUB":
		return VerbLsub
	case "NAMESPACE":
		return VerbNamespace
	case "STATUS":
		return VerbStatus
	case "APPEND":
		return VerbAppend
	case "IDLE":
		return VerbIdle
	case "CHECK":
		return VerbCheck
	case "CLOSE":
		return VerbClose
	case "UNSELECT":
		return VerbUnselect
	case "EXPUNGE":
		return VerbExpunge
	case "SEARCH":
		return VerbSearch
	case "FETCH":
		return VerbFetch
	case "STORE":
		return VerbStore
	case "COPY":
		return VerbCopy
	case "MOVE":
		return VerbMove
	case "REPLACE":
		return VerbReplace
	case "GETQUOTA":
		return VerbGetQuota
	case "GETQUOTAROOT":
		return VerbGetQuotaRoot
	}
	return VerbUnknown
}
