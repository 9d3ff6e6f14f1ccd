// Package sample is the mail that `imapped demo` shows: a harbour office's, about 60 messages in ten mailboxes, and
// an endless supply of new ones.
//
// Invariants:
//  1. The mail is data beside the code (mail/*.txt): a first line "mailbox: name attributes", then for each message a
//     line "=== internaldate flags" and the raw message with LF line ends.
package sample

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"imapped/app/deliver"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

//go:embed mail/*.txt
var files embed.FS

// Mailbox is one mailbox of the sample.
type Mailbox struct {
	Name     string
	Attrs    mailbox.Attr
	Messages []deliver.Message
}

var attributes = map[string]mailbox.Attr{
	`\Sent`: mailbox.Sent, `\Drafts`: mailbox.Drafts, `\Trash`: mailbox.Trash, `\Junk`: mailbox.Junk,
	`\Archive`: mailbox.Archive,
}

// Mailboxes returns the sample, INBOX first.
func Mailboxes() ([]Mailbox, error) {
	names, err := fs.Glob(files, "mail/*.txt")
	if err != nil {
		return nil, fault.Wrap("read sample mail", err)
	}
	var all []Mailbox
	for _, name := range names {
		raw, err := files.ReadFile(name)
		if err != nil {
			return nil, fault.Wrap("read sample mail", err)
		}
		m, err := parse(string(raw))
		if err != nil {
			return nil, fault.Wrap("read sample mail "+name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parse(text string) (Mailbox, error) {
	head, rest, _ := strings.Cut(text, "\n")
	name, ok := strings.CutPrefix(head, "mailbox: ")
	if !ok {
		return Mailbox{}, fault.New(fault.Invalid, "", "the first line names no mailbox")
	}
	m := Mailbox{Name: name}
	if at := strings.Index(name, ` \`); at >= 0 {
		m.Name, m.Attrs = name[:at], attributes[name[at+1:]]
	}
	rest, ok = strings.CutPrefix(rest, "=== ")
	if !ok {
		return m, nil
	}
	for part := range strings.SplitSeq(rest, "\n=== ") {
		line, body, _ := strings.Cut(part, "\n")
		words := strings.Fields(line)
		if len(words) == 0 {
			return m, fault.New(fault.Invalid, "", "a message has no date")
		}
		date, err := time.Parse(time.RFC3339, words[0])
		if err != nil {
			return m, fault.As(fault.Invalid, "read date", err)
		}
		raw := strings.ReplaceAll(strings.TrimSuffix(body, "\n")+"\n", "\n", "\r\n")
		m.Messages = append(m.Messages, deliver.Message{Raw: []byte(raw), Flags: flag.Parse(words[1:]...), Date: date})
	}
	return m, nil
}

// Fill delivers the sample into an account, once, and returns the mailbox that Next delivers to. A mailbox that has ever
// had a message is left as it is, and all of them once INBOX, which comes last, has: what clients did to the sample
// since, or a crash while it was filled, changes nothing about that.
func Fill(ctx context.Context, box *deliver.Box) (mailbox.ID, error) {
	all, err := Mailboxes()
	if err != nil {
		return 0, err
	}
	in, err := box.Open(ctx, all[0].Name, all[0].Attrs) // INBOX
	if err != nil || in.UIDNext > 1 {
		return in.ID, err
	}
	for i := range all {
		m := all[len(all)-1-i]
		at, err := box.Open(ctx, m.Name, m.Attrs)
		if err != nil {
			return 0, err
		}
		if at.UIDNext > 1 {
			continue
		}
		if _, err := box.Messages(ctx, at.ID, m.Messages...); err != nil {
			return 0, err
		}
	}
	return in.ID, nil
}

var news = [...]struct{ subject, body string }{
	{"berth 7 is free", "The tug has left; berth 7 takes ships of up to 38 m until tomorrow morning."},
	{"berth 2 is taken", "MV Gudrun came in early. She stays two nights."},
	{"fog on the channel", "Visibility 300 m. The pilots wait until it lifts."},
	{"a seal in basin 2", "It lies on the slipway and is not impressed by the siren."},
	{"crane 4 works again", "The left brake has been replaced. Test load 12 t, held."},
	{"parcel at the gate", "One parcel, heavy, smells of coffee."},
}

// Next returns the n-th of the messages that go on arriving, dated now.
func Next(n int, now time.Time) deliver.Message {
	item := news[n%len(news)]
	raw := fmt.Sprintf("From: dock-bot@harbour.example\r\nTo: demo@harbour.example\r\nSubject: [dock] %s\r\n"+
		"Date: %s\r\nMessage-ID: <live-%d-%d@harbour.example>\r\nAuto-Submitted: auto-generated\r\n"+
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n%s\r\n",
		item.subject, now.Format(time.RFC1123Z), now.UnixNano(), n, item.body)
	return deliver.Message{Raw: []byte(raw), Date: now}
}
