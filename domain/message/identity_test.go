package message

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/mailbox"
)

const identHeader = `Received: from x
Message-ID: <a@b>
References: <r1@x> <r2@x>
	<r3@x>
In-Reply-To: <r3@x>
Date: Thu, 22 Aug 2002 12:36:23 +0100
From: Foo
 Bar <a@b>
Subject: some
 subject

References: <not@header>
`

func identify(s string) Identity { return Identify(crlfed(s), 100, time.Unix(1000, 0)) }

func TestIdentifyIsTheSameFromEveryServer(t *testing.T) {
	want := identify(identHeader)
	for name, s := range map[string]string{
		"fields only": "Message-ID: <a@b>\nReferences: <r1@x> <r2@x>\n\t<r3@x>\nIn-Reply-To: <r3@x>\n" +
			"Date: Thu, 22 Aug 2002 12:36:23 +0100\nFrom: Foo\n Bar <a@b>\nSubject: some\n subject\n\n",
		"other order, names, folding, no blank line": "SUBJECT:some  subject \nfrom:\n Foo Bar\t<a@b>\nin-reply-to: <r3@x>\n" +
			"DATE: Thu, 22 Aug 2002\n 12:36:23 +0100\nreferences: <r1@x> <r2@x> <r3@x>\nMessage-Id:  <a@b>\n",
	} {
		got := identify(s)
		if got.Email != want.Email || got.MessageID != want.MessageID || !slices.Equal(got.Refs, want.Refs) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	zoned := Identify(crlfed(identHeader), 100, time.Unix(1000, 0).In(time.FixedZone("", 3600)))
	if zoned.Email != want.Email {
		t.Error("the zone of INTERNALDATE counts")
	}
	if got := Identify([]byte(identHeader), 100, time.Unix(1000, 0)); got.Email != want.Email {
		t.Error("bare line feeds count")
	}
}

func TestIdentifyTellsApart(t *testing.T) {
	seen := map[mailbox.ObjectID]string{}
	note := func(name string, id Identity) {
		if other, ok := seen[id.Email]; ok {
			t.Errorf("%s is %s", name, other)
		}
		seen[id.Email] = name
	}
	note("the message", identify(identHeader))
	for _, field := range []string{"Message-ID", "References", "In-Reply-To", "Date", "From", "Subject"} {
		note("without "+field, identify(strings.Replace(identHeader, field+":", "X:", 1)))
	}
	note("other size", Identify(crlfed(identHeader), 101, time.Unix(1000, 0)))
	note("other date", Identify(crlfed(identHeader), 100, time.Unix(1001, 0)))
	note("value in another field", identify("From: a\n"))
	note("value in another field 2", identify("Subject: a\n"))
	note("two values", identify("Subject: a\nSubject: b\n"))
}

func TestIdentifyMessageID(t *testing.T) {
	id := func(s string) mailbox.ObjectID { return identify("Message-ID: " + s + "\n").MessageID }
	for _, same := range []string{"<a@b>", " <a@b> (comment)", "\n <a@b>", "<a@b> <c@d>", "<a\n @b>"} {
		if id(same) != id("<a@b>") {
			t.Errorf("%q is another", same)
		}
	}
	if id("<a@b>") == id("<A@b>") || id("<a@b>") == id("<a@c>") {
		t.Error("different identifiers are the same")
	}
	if id("bare") == (mailbox.ObjectID{}) || id("bare") == id("other") {
		t.Error("an identifier without brackets does not count")
	}
	if id("") != (mailbox.ObjectID{}) || identify("Subject: x\n").MessageID != (mailbox.ObjectID{}) {
		t.Error("there is an identifier where there is none")
	}
	if ref := identify("References: <a@b>\n").Refs; len(ref) != 1 || ref[0] != id("<a@b>") {
		t.Error("a reference is not hashed like the identifier it refers to")
	}
}

func TestIdentifyRefs(t *testing.T) {
	ref := func(s string) mailbox.ObjectID { return hashMessageID([]byte(s)) }
	var many strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, " <%d@x>", i)
	}
	for _, tt := range []struct {
		header string
		want   []mailbox.ObjectID
	}{
		{"References: <a> <b>\nIn-Reply-To: <b>", []mailbox.ObjectID{ref("<a>"), ref("<b>")}},
		{"References: <a>\nIn-Reply-To: <b> <c>", []mailbox.ObjectID{ref("<a>"), ref("<b>")}},
		{"In-Reply-To: Your message of <date> \"x\" <b@c>", []mailbox.ObjectID{ref("<date>")}},
		{"References: <a<b@c>garbage<d@e", []mailbox.ObjectID{ref("<b@c>")}},
		{"References: <> nothing", nil},
	} {
		if got := identify(tt.header + "\n").Refs; !slices.Equal(got, tt.want) {
			t.Errorf("%q: %x, want %x", tt.header, got, tt.want)
		}
	}
	got := identify("References:" + many.String() + "\nIn-Reply-To: <z>\n").Refs
	if len(got) != maxRefs || got[0] != ref("<0@x>") || got[maxRefs-1] != ref("<z>") || got[maxRefs-2] != ref("<199@x>") {
		t.Errorf("%d of 201 references", len(got))
	}
}
