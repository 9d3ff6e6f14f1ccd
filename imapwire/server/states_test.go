package server

import (
	"strings"
	"testing"

	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// samples is a well-formed line for every command.
var samples = map[fsm.Command]string{
	fsm.Capability: "CAPABILITY", fsm.Noop: "NOOP", fsm.Logout: "LOGOUT", fsm.ID: "ID NIL", fsm.StartTLS: "STARTTLS",
	fsm.Authenticate: "AUTHENTICATE PLAIN AHUAc2VjcmV0", fsm.Login: "LOGIN u secret", fsm.Enable: "ENABLE CONDSTORE",
	fsm.Select: "SELECT INBOX", fsm.Examine: "EXAMINE INBOX", fsm.Create: "CREATE x", fsm.Delete: "DELETE x",
	fsm.Rename: "RENAME x y", fsm.Subscribe: "SUBSCRIBE x", fsm.Unsubscribe: "UNSUBSCRIBE x", fsm.List: `LIST "" *`,
	fsm.Lsub: `LSUB "" *`, fsm.Namespace: "NAMESPACE", fsm.Status: "STATUS INBOX (MESSAGES)",
	fsm.Append: "APPEND INBOX {1+}\r\nx", fsm.Idle: "IDLE\r\nDONE", fsm.Compress: "COMPRESS DEFLATE", fsm.Check: "CHECK",
	fsm.Close: "CLOSE", fsm.Unselect: "UNSELECT", fsm.Expunge: "EXPUNGE", fsm.Search: "SEARCH ALL",
	fsm.Fetch: "FETCH 1 UID", fsm.Store: `STORE 1 FLAGS (\Seen)`, fsm.Copy: "COPY 1 x", fsm.Move: "MOVE 1 x",
	fsm.Replace: "REPLACE 1 x {1+}\r\nx", fsm.UIDReplace: "UID REPLACE 1 x {1+}\r\nx",
	fsm.UIDFetch: "UID FETCH 1 UID", fsm.UIDStore: `UID STORE 1 FLAGS (\Seen)`, fsm.UIDSearch: "UID SEARCH ALL",
	fsm.UIDCopy: "UID COPY 1 x", fsm.UIDMove: "UID MOVE 1 x", fsm.UIDExpunge: "UID EXPUNGE 1",
	fsm.GetQuota: "GETQUOTA root", fsm.GetQuotaRoot: "GETQUOTAROOT INBOX",
}

// TestEveryCommandInEveryState sends each command in each state that a connection can be in, with STARTTLS possible
// and without, and holds the answer against the table.
func TestEveryCommandInEveryState(t *testing.T) {
	store := newFake()
	sampleMail(store)
	config, _ := testTLS()
	for _, withTLS := range []bool{false, true} {
		ts := startServer(t, store, func(o *Options) {
			if withTLS {
				o.TLS = config
			}
		})
		for s := range fsm.LoggedOut {
			for cmd := fsm.Unknown + 1; int(cmd) < fsm.Commands; cmd++ {
				line, has := samples[cmd]
				if !has {
					t.Fatalf("no sample for %s", cmd)
				}
				c := dial(t, ts.addr)
				c.line()
				if s >= fsm.Authenticated {
					c.do("LOGIN u secret")
				}
				if s == fsm.Selected {
					c.do("SELECT INBOX")
				}
				env := fsm.Env{Secure: true, Caps: ts.caps, Enabled: func(string) bool { return false }}
				verdict := fsm.Judge(s, cmd, env)
				c.send("t " + line + "\r\n")
				answers := c.until("t")
				answer := answers[len(answers)-1]
				refused := strings.HasPrefix(answer, "t BAD Unknown command") ||
					strings.HasPrefix(answer, "t BAD "+cmd.String()+" is not allowed")
				if refused != (verdict != fsm.Run) {
					t.Errorf("%s in state %s (TLS %t): %q, want verdict %s", cmd, s, withTLS, answer, verdict)
				}
				if verdict == fsm.Run && strings.HasPrefix(answer, "t BAD") {
					t.Errorf("%s in state %s: %q", cmd, s, answer)
				}
				_ = c.nc.Close()
			}
		}
	}
}

// The parser's verbs and the table's commands are the same: every verb has its command, every command its verb, under
// one name.
func TestVerbsAndCommands(t *testing.T) {
	seen := map[fsm.Command]bool{}
	for v := syntax.VerbCapability; v.String() != ""; v++ {
		for _, uid := range []bool{false, true} {
			cmd := commandOf(v, uid)
			if cmd == fsm.Unknown {
				if !uid {
					t.Errorf("verb %s has no command", v)
				}
				continue
			}
			want := v.String()
			if uid {
				want = "UID " + want
			}
			if cmd.String() != want || seen[cmd] {
				t.Errorf("verb %s (uid %t) is command %s", v, uid, cmd)
			}
			seen[cmd] = true
		}
	}
	if len(seen) != fsm.Commands-1 {
		t.Errorf("%d commands have a verb, want %d", len(seen), fsm.Commands-1)
	}
	if commandOf(syntax.Verb(200), false) != fsm.Unknown || commandOf(syntax.VerbNoop, true) != fsm.Unknown {
		t.Error("something unknown is a command")
	}
}
