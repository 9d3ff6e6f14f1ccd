package upstream_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

// TestQuirks plays a transcript for each row of the table: how the server is recognised, and what is done otherwise.
func TestQuirks(t *testing.T) {
	const login = "C: l AUTHENTICATE PLAIN AHUAcA==\n"
	const id = `C: i ID ("name" "imapped")` + "\n"
	for _, tc := range []struct {
		quirk, script string
		then          func(t *testing.T, c port.Conn)
	}{
		{"icloud-no-qresync", `S: * OK [CAPABILITY XAPPLEPUSHSERVICE IMAP4 IMAP4rev1 SASL-IR AUTH=ATOKEN AUTH=PTOKEN AUTH=PLAIN] (2203B24) pv50p00im
` + login + `S: l OK [CAPABILITY IMAP4rev1 REWRITTEN] user u logged in
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH IDLE
S: c OK
C: e ENABLE CONDSTORE
S: e OK
C: s SELECT INBOX (CONDSTORE)
S: * 1 EXISTS
S: s OK`, func(t *testing.T, c port.Conn) {
			if s := c.Server(); s.QResync || !s.CondStore || !s.ESearch || !s.Idle {
				t.Errorf("%+v", s)
			}
			do(t, c, &port.Select{Name: "INBOX", Resync: &port.Resync{UIDValidity: 1, ModSeq: 1}})
		}},
		{"gmail-modseq-before-data", `S: * OK Gimap ready for requests from 192.0.2.1 ab12
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN
S: c OK Thats all she wrote! ab12
` + login + `S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584
S: l OK u authenticated (Success)
` + id + `C: e ENABLE CONDSTORE UTF8=ACCEPT
S: * ID ("name" "GImap" "vendor" "Google, Inc.")
S: i OK Success
S: * ENABLED CONDSTORE UTF8=ACCEPT
S: e OK Success
C: s SELECT INBOX
S: * 1 EXISTS
S: * OK [HIGHESTMODSEQ 715194045007]
S: s OK [READ-WRITE] INBOX selected. (Success)`, func(t *testing.T, c port.Conn) {
			if s := c.Server(); s.QResync || !s.CondStore || !s.UTF8 || !s.ListStatus || s.ID["vendor"] != "Google, Inc." {
				t.Errorf("%+v", s)
			}
			sel := &port.Select{Name: "INBOX"}
			do(t, c, sel)
			if ok(t, sel); sel.HighestModSeq != 715194045007 {
				t.Errorf("%+v", sel)
			}
		}},
		{"exchange-plain-search", `S: * OK The Microsoft Exchange IMAP4 service is ready. [QQBN]
C: c CAPABILITY
S: * CAPABILITY IMAP4 IMAP4rev1 IMAP4rev2 AUTH=PLAIN SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+
S: c OK CAPABILITY completed.
` + login + `S: l OK AUTHENTICATE completed.
C: c CAPABILITY
` + id + `S: * CAPABILITY IMAP4 IMAP4rev1 IMAP4rev2 ENABLE ESEARCH CONDSTORE UTF8=ACCEPT UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+
S: c OK CAPABILITY completed.
S: * ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20")
S: i OK ID completed
C: s SELECT INBOX
S: * 1 EXISTS
S: s OK [READ-WRITE] SELECT completed.
C: e UID SEARCH ALL
S: * SEARCH 5
S: e OK SEARCH completed.`, func(t *testing.T, c port.Conn) {
			if s := c.Server(); s.CondStore || s.ESearch || !s.Move {
				t.Errorf("%+v", s)
			}
			sel, enum := &port.Select{Name: "INBOX"}, &port.Enumerate{}
			do(t, c, sel)
			do(t, c, enum)
			ok(t, sel, enum)
		}},
		{"yahoo-window-10000", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+] IMAP4rev1 Hello
` + login + `S: l OK [CAPABILITY IMAP4rev1 IDLE MOVE] AUTHENTICATE completed
C: s SELECT INBOX
S: * 2 EXISTS
S: s OK
C: n NOOP
S: * 1 EXPUNGE
S: * 1 EXPUNGE
S: n OK
C: e UID SEARCH ALL
S: * SEARCH
S: e OK`, func(t *testing.T, c port.Conn) {
			do(t, c, &port.Select{Name: "INBOX"})
			do(t, c, &port.Noop{})
			enum := &port.Enumerate{}
			do(t, c, enum)
			if enum.Err == nil { // the two EXPUNGEs say nothing about how many messages are left
				t.Error("an empty enumeration is believed")
			}
		}},
		{"courier-no-examine", `S: * OK [CAPABILITY IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=REFERENCES SORT QUOTA IDLE AUTH=PLAIN SASL-IR] Courier-IMAP ready. Copyright 1998-2018 Double Precision, Inc.
` + login + `S: l OK [CAPABILITY IMAP4rev1 IDLE] LOGIN Ok.
C: s SELECT INBOX
S: * 1 EXISTS
S: s OK
C: f UID FETCH 5 (UID FLAGS)
S: * 0 FETCH (UID 5 FLAGS (\\Seen))
S: f OK`, func(t *testing.T, c port.Conn) {
			sel, fetch := &port.Select{Name: "INBOX", ReadOnly: true}, &port.Fetch{UIDs: mailbox.SetOf[uint32](5), Items: port.ItemFlags}
			var got *[]string
			fetch.OnMessage, got = gather()
			do(t, c, sel, fetch)
			if ok(t, sel, fetch); len(*got) != 1 || !c.Server().NoExamine {
				t.Errorf("%v", *got)
			}
		}},
		{"zimbra-no-qresync", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] mail.example.org Zimbra IMAP4rev1 server ready
` + login + `S: l OK [CAPABILITY IMAP4rev1 CONDSTORE ENABLE QRESYNC ID] AUTHENTICATE completed
` + id + `C: e ENABLE CONDSTORE
S: * ID ("NAME" "Zimbra" "VERSION" "8.8")
S: i OK
S: * ENABLED CONDSTORE
S: e OK`, func(t *testing.T, c port.Conn) {
			if s := c.Server(); s.QResync || !s.CondStore {
				t.Errorf("%+v", s)
			}
		}},
		{"purelymail-no-select-parameters", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Purelymail IMAP ready
` + login + `S: l OK [CAPABILITY IMAP4rev1 CONDSTORE QRESYNC ESEARCH] in
C: s SELECT INBOX
S: * 2 EXISTS
S: s OK
C: e UID SEARCH RETURN (ALL) ALL
S: * ESEARCH (TAG "e") ALL 1:2
S: e OK`, func(t *testing.T, c port.Conn) {
			sel, enum := &port.Select{Name: "INBOX", Resync: &port.Resync{UIDValidity: 1, ModSeq: 2}}, &port.Enumerate{}
			do(t, c, sel, enum)
			if ok(t, sel, enum); enum.UIDs.String() != "1:2" {
				t.Errorf("%v", enum.UIDs)
			}
		}},
		{"coremail-id-first", `S: * OK Coremail System IMap Server Ready(163com[...])
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1 XLIST SPECIAL-USE LITERAL+ STARTTLS XAPPLEPUSHSERVICE UIDPLUS X-CM-EXT-1 AUTH=PLAIN SASL-IR
S: c OK CAPABILITY completed
` + login + `S: l OK AUTHENTICATE completed
C: c CAPABILITY
` + id + `S: * CAPABILITY IMAP4rev1 XLIST SPECIAL-USE LITERAL+ UIDPLUS X-CM-EXT-1
S: c OK CAPABILITY completed
S: * ID ("name" "Coremail Imap" "TransID" "x")
S: i OK ID completed
C: s SELECT INBOX
S: * 1 EXISTS
S: s OK [READ-WRITE]`, func(t *testing.T, c port.Conn) {
			sel := &port.Select{Name: "INBOX"}
			do(t, c, sel)
			if ok(t, sel); c.Server().PollBy != time.Minute {
				t.Errorf("%+v", c.Server())
			}
		}},
		{"zoho-no-condstore", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Zoho Mail IMAP4rev1 Server Version 1.0
` + login + `S: l OK [CAPABILITY IMAP4rev1 ENABLE CONDSTORE IDLE] Success
C: f UID FETCH 5 (UID FLAGS)
S: * 1 FETCH (UID 5 FLAGS (\\Seen \\*) MODSEQ (-1))
S: f OK`, func(t *testing.T, c port.Conn) {
			fetch := &port.Fetch{UIDs: mailbox.SetOf[uint32](5), Items: port.ItemFlags}
			var got *[]string
			fetch.OnMessage, got = gather()
			do(t, c, fetch)
			if ok(t, fetch); c.Server().CondStore || !slices.Equal(*got, []string{`uid 5 flags \Seen`}) {
				t.Errorf("%v", *got)
			}
		}},
		{"proton-bridge-plain-list", `S: * OK [CAPABILITY ID IDLE IMAP4rev1 AUTH=PLAIN SASL-IR] Proton Mail Bridge 3.10 - Gluon session ID 1
` + login + `S: l OK [CAPABILITY IDLE IMAP4rev1 MOVE UIDPLUS UNSELECT SPECIAL-USE LIST-STATUS] in
C: a LIST "" "*"
S: * LIST (\\All) "/" "All Mail"
S: a OK`, func(t *testing.T, c port.Conn) {
			list := &port.List{Status: true}
			do(t, c, list)
			if ok(t, list); c.Server().ListStatus || list.Mailboxes[0].Attrs != mailbox.All {
				t.Errorf("%+v", list.Mailboxes)
			}
		}},
		{"workmail-volatile-uidvalidity", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Amazon WorkMail IMAP ready
` + login + `S: l OK [CAPABILITY IMAP4rev1] in`, func(*testing.T, port.Conn) {}},
		{"davmail-no-appenduid", `S: * OK [CAPABILITY IMAP4REV1 AUTH=PLAIN SASL-IR] IMAP4rev1 DavMail 6.0.1-3390 server ready
` + login + `S: l OK [CAPABILITY IMAP4rev1 UIDPLUS MOVE LITERAL+] Authenticated
C: a APPEND Sent {3+}
c: abc
S: a OK [APPENDUID 7064 1] APPEND completed
C: b UID COPY 35 "Deleted Items"
S: b OK [COPYUID 1 35 41] UID COPY completed`, func(t *testing.T, c port.Conn) {
			a, cp := message("Sent", "abc"), &port.Copy{UIDs: uids(35), To: "Deleted Items"}
			do(t, c, a)
			do(t, c, cp)
			if ok(t, a, cp); a.UID != 0 || a.UIDValidity != 0 || cp.UIDValidity != 0 || cp.Pairs != nil {
				t.Errorf("%+v, %+v", a, cp)
			}
		}},
		{"greenmail-no-copyuid", `S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] IMAP4rev1 Server GreenMail v1.6.5 ready
` + login + `S: l OK [CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS SORT IDLE MOVE QUOTA] AUTHENTICATE completed.
C: a APPEND Sent {3+}
c: abc
S: a OK [APPENDUID 1645008000 4] APPEND completed.
C: b UID MOVE 2 Trash
S: * OK [COPYUID 1645008001 2 5]
S: * 1 EXPUNGE
S: b OK MOVE completed.`, func(t *testing.T, c port.Conn) {
			a, mv := message("Sent", "abc"), &port.Copy{UIDs: uids(2), To: "Trash", Move: true}
			do(t, c, a)
			do(t, c, mv)
			if ok(t, a, mv); a.UID != 4 || mv.UIDValidity != 0 || mv.Pairs != nil || mv.Done.String() != "2" {
				t.Errorf("%+v, %+v", a, mv)
			}
		}},
		// No row: the parser's leniency covers it.
		{"", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Welcome to Mail.Ru IMAP
` + login + `S: l OK [CAPABILITY IMAP4rev1] in
C: f UID FETCH 5 (UID RFC822.SIZE)
S: * 1 FETCH (UID 5 RFC822.SIZE 12.5 BODYSTRUCTURE ("text" "plain" ("charset" NIL) NIL NIL "7bit" 12.0 1))
S: f OK`, func(t *testing.T, c port.Conn) {
			fetch := &port.Fetch{UIDs: mailbox.SetOf[uint32](5), Items: port.ItemSize}
			var got *[]string
			fetch.OnMessage, got = gather()
			do(t, c, fetch)
			if ok(t, fetch); !slices.Equal(*got, []string{"uid 5 size 12"}) {
				t.Errorf("%v", *got)
			}
		}},
		// An old server with XLIST and nothing newer.
		{"", `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi
` + login + `S: l OK [CAPABILITY IMAP4rev1 XLIST] in
C: a XLIST "" "*"
S: * XLIST (\\HasNoChildren \\Inbox) "/" INBOX
S: * XLIST (\\HasNoChildren \\Spam) "/" Bulk
S: a OK`, func(t *testing.T, c port.Conn) {
			list := &port.List{}
			do(t, c, list)
			if ok(t, list); list.Mailboxes[1].Attrs != mailbox.Junk {
				t.Errorf("%+v", list.Mailboxes)
			}
		}},
	} {
		name := tc.quirk
		if name == "" {
			name = "no quirk"
		}
		t.Run(name, func(t *testing.T) {
			conn, _ := dial(t, dialer(), tc.script)
			var want []string
			if tc.quirk != "" {
				want = []string{tc.quirk}
			}
			if got := conn.Server().Quirks; !slices.Equal(got, want) {
				t.Errorf("quirks %q", strings.Join(got, ","))
			}
			tc.then(t, conn)
		})
	}
}
