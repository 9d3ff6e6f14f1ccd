package server

import (
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// commandOf returns the table's command for a verb of the parser; fsm.Unknown for a verb that the table does not have.
func commandOf(v syntax.Verb, uid bool) fsm.Command {
	if uid {
		switch v {
		case syntax.VerbFetch:
			return fsm.UIDFetch
		case syntax.VerbStore:
			return fsm.UIDStore
		case syntax.VerbSearch:
			return fsm.UIDSearch
		case syntax.VerbCopy:
			return fsm.UIDCopy
		case syntax.VerbMove:
			return fsm.UIDMove
		case syntax.VerbExpunge:
			return fsm.UIDExpunge
		case syntax.VerbReplace:
			return fsm.UIDReplace
		}
		return fsm.Unknown
	}
	if int(v) < len(plainCommands) {
		return plainCommands[v]
	}
	return fsm.Unknown
}

// plainCommands maps the verbs without UID.
var plainCommands = [...]fsm.Command{
	syntax.VerbCapability: fsm.Capability, syntax.VerbNoop: fsm.Noop, syntax.VerbLogout: fsm.Logout,
	syntax.VerbStartTLS: fsm.StartTLS, syntax.VerbAuthenticate: fsm.Authenticate, syntax.VerbLogin: fsm.Login,
	syntax.VerbEnable: fsm.Enable, syntax.VerbID: fsm.ID, syntax.VerbCompress: fsm.Compress,
	syntax.VerbSelect: fsm.Select, syntax.VerbExamine: fsm.Examine, syntax.VerbCreate: fsm.Create,
	syntax.VerbDelete: fsm.Delete, syntax.VerbRename: fsm.Rename, syntax.VerbSubscribe: fsm.Subscribe,
	syntax.VerbUnsubscribe: fsm.Unsubscribe, syntax.VerbList: fsm.List, syntax.VerbLsub: fsm.Lsub,
	syntax.VerbNamespace: fsm.Namespace, syntax.VerbStatus: fsm.Status, syntax.VerbAppend: fsm.Append,
	syntax.VerbIdle: fsm.Idle, syntax.VerbCheck: fsm.Check, syntax.VerbClose: fsm.Close,
	syntax.VerbUnselect: fsm.Unselect, syntax.VerbExpunge: fsm.Expunge, syntax.VerbSearch: fsm.Search,
	syntax.VerbFetch: fsm.Fetch, syntax.VerbStore: fsm.Store, syntax.VerbCopy: fsm.Copy, syntax.VerbMove: fsm.Move,
	syntax.VerbReplace: fsm.Replace, syntax.VerbGetQuota: fsm.GetQuota, syntax.VerbGetQuotaRoot: fsm.GetQuotaRoot,
}
