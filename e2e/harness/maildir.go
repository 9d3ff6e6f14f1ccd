package harness

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// Message is one mail with what a server keeps beside it.
type Message struct {
	Raw      []byte // with CRLF
	Flags    []string
	Keywords []string
	Date     time.Time // INTERNALDATE
	UID      uint32
}

// Box is a mailbox to be loaded. UIDs ascend.
type Box struct {
	Name        string // UTF-8, '/' between levels
	UIDValidity uint32
	Messages    []Message
}

// vmail is the numeric owner of mail in the Dovecot image.
const vmail = 5000

// maildir returns a tar archive of user/Maildir with the boxes (Maildir++: each mailbox a folder ".A.B").
func maildir(user string, boxes []Box) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	dir := func(name string) error {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700, Uid: vmail, Gid: vmail, ModTime: time.Unix(1e9, 0)})
	}
	file := func(name string, data []byte, at time.Time) error {
		err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600, Uid: vmail, Gid: vmail, ModTime: at})
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	root := user + "/Maildir"
	for _, d := range []string{user, root, root + "/cur", root + "/new", root + "/tmp"} {
		if err := dir(d); err != nil {
			return nil, err
		}
	}
	var subscribed []string
	for _, b := range boxes {
		base := root
		if f := folder(b.Name); f != "" {
			base += "/" + f
			for _, d := range []string{base, base + "/cur", base + "/new", base + "/tmp"} {
				if err := dir(d); err != nil {
					return nil, err
				}
			}
			if err := file(base+"/maildirfolder", nil, time.Unix(1e9, 0)); err != nil {
				return nil, err
			}
		}
		subscribed = append(subscribed, strings.Join(encoded(b.Name), "."))
		if err := contents(file, base, b); err != nil {
			return nil, err
		}
	}
	if err := file(root+"/subscriptions", []byte(strings.Join(subscribed, "\n")+"\n"), time.Unix(1e9, 0)); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

// contents writes a mailbox's messages, its list of UIDs and its keywords.
func contents(file func(string, []byte, time.Time) error, base string, b Box) error {
	var keywords []string
	var list bytes.Buffer
	next := uint32(1)
	for i, m := range b.Messages {
		var info []string
		for _, f := range m.Flags {
			letter, ok := flagLetters[f]
			if !ok {
				return fmt.Errorf("maildir: no letter for the flag %s", f)
			}
			info = append(info, letter)
		}
		for _, k := range m.Keywords {
			at := slices.Index(keywords, k)
			if at < 0 {
				at = len(keywords)
				keywords = append(keywords, k)
			}
			info = append(info, string(rune('a'+at)))
		}
		slices.Sort(info)
		name := fmt.Sprintf("%d.M%dP1.e2e,S=%d,W=%d", m.Date.Unix(), i, len(m.Raw), len(m.Raw))
		fmt.Fprintf(&list, "%d :%s\n", m.UID, name)
		next = m.UID + 1
		if err := file(base+"/cur/"+name+":2,"+strings.Join(info, ""), m.Raw, m.Date); err != nil {
			return err
		}
	}
	head := fmt.Sprintf("3 V%d N%d G%032x\n", b.UIDValidity, next, b.UIDValidity)
	if err := file(base+"/dovecot-uidlist", append([]byte(head), list.Bytes()...), time.Unix(1e9, 0)); err != nil {
		return err
	}
	var names bytes.Buffer
	for i, k := range keywords {
		fmt.Fprintf(&names, "%d %s\n", i, k)
	}
	return file(base+"/dovecot-keywords", names.Bytes(), time.Unix(1e9, 0))
}

var flagLetters = map[string]string{
	`\Seen`: "S", `\Answered`: "R", `\Flagged`: "F", `\Deleted`: "T", `\Draft`: "D",
}

// folder returns the name of a mailbox's folder in a Maildir++; INBOX is the root, "".
func folder(name string) string {
	if name == "INBOX" {
		return ""
	}
	return "." + strings.Join(encoded(name), ".")
}

func encoded(name string) []string {
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = ModifiedUTF7(l)
	}
	return levels
}

// ModifiedUTF7 encodes a mailbox name (RFC 3501 section 5.1.3).
func ModifiedUTF7(s string) string {
	var b strings.Builder
	enc := base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
	var run []rune
	flush := func() {
		if len(run) == 0 {
			return
		}
		var units []byte
		for _, u := range utf16.Encode(run) {
			units = append(units, byte(u>>8), byte(u))
		}
		b.WriteString("&" + enc.EncodeToString(units) + "-")
		run = run[:0]
	}
	for _, r := range s {
		if r >= ' ' && r <= '~' {
			flush()
			if b.WriteRune(r); r == '&' {
				b.WriteByte('-')
			}
			continue
		}
		run = append(run, r)
	}
	flush()
	return b.String()
}
