package suites

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
	"imapped/tools/faultproxy"
	"imapped/tools/recorder"
)

// variant is an upstream that differs from the others in what it offers.
type variant struct {
	name string
	harness.DovecotOptions
}

// TestUpstreamVariants mirrors upstreams of other kinds than the one that the other suites use.
func TestUpstreamVariants(t *testing.T) {
	t.Run("TLS upstream", secureUpstream)
	t.Run("TLS for clients", secureClients)
	for _, v := range []variant{
		{"separator dot", harness.DovecotOptions{Separator: "."}},
		{"separator dot, prefix INBOX", harness.DovecotOptions{Separator: ".", Prefix: "INBOX."}},
		{"no CONDSTORE, QRESYNC, LIST-STATUS, IDLE", harness.DovecotOptions{
			Separator: "/", Capability: "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE NAMESPACE CHILDREN LIST-EXTENDED SPECIAL-USE UIDPLUS ESEARCH UNSELECT MOVE",
		}},
		{"CONDSTORE without QRESYNC, UNSELECT", harness.DovecotOptions{
			Separator: "/", Capability: "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN SPECIAL-USE UIDPLUS CONDSTORE",
		}},
		{"IMAP4rev1 alone, separator dot", harness.DovecotOptions{Separator: ".", Capability: "IMAP4rev1"}},
	} {
		t.Run(v.name, v.followed)
	}
}

// upstream is the upstream's name of a mailbox of a harness.Box, in UTF-8.
func (v variant) upstream(name string) string {
	if name == "INBOX" {
		return name
	}
	return v.Prefix + strings.ReplaceAll(name, "/", v.Separator)
}

// client is the name that clients of the mirror see.
func (v variant) client(name string) string {
	return strings.ReplaceAll(v.upstream(name), v.Separator, "/")
}

// followed mirrors the upstream, changes everything that can change there, and compares both sides after each step.
func (v variant) followed(t *testing.T) {
	w := *theWorld(t)
	var err error
	w.dovecot, err = harness.StartDovecot(t.Context(), v.DovecotOptions)
	must(t, err)
	t.Cleanup(func() { w.dovecot.Close() })
	boxes := append(harness.Account(w.raw[:100], 21),
		harness.Box{Name: "Tief/A & B", UIDValidity: 77, Messages: harness.Dress(w.raw[100:104], 22)},
		harness.Box{Name: "Tief/A & B/日 本/x y", UIDValidity: 78, Messages: harness.Dress(w.raw[104:107], 23)})
	names := map[string]string{} // before the changes -> after them
	for _, b := range boxes {
		names[b.Name] = b.Name
	}
	rec, err := recorder.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { rec.Close() })
	m := account(t, &w, "variant", rec.Addr(), boxes)
	p := synced(t, m, boxes)
	c, up := login(t, p.Login), upstreamLogin(t, &w, "variant")

	ours, theirs := v.both(t, c, up, maps.Keys(names))
	validity := map[string]string{}
	for name := range names {
		validity[name] = status(t, c, v.client(name), "UIDVALIDITY")
	}

	v.change(t, up, names)
	must(t, p.Force(t.Context()))
	oursNow, theirsNow := v.both(t, c, up, maps.Values(names))
	for old, name := range names {
		if ours[old] == nil {
			continue // it is new
		}
		sameMessages(t, name, ours[old], oursNow[name], theirs[old], theirsNow[name])
		if now := status(t, c, v.client(name), "UIDVALIDITY"); now != validity[old] && name != "Trash" {
			t.Errorf("%s: UIDVALIDITY %s, was %s", name, now, validity[old])
		}
	}
	v.onlyOffered(t, rec)

	// Nothing has changed: nothing is downloaded, and no command goes to a single message.
	rec.Reset()
	must(t, p.Force(t.Context()))
	got, bodies := counted(rec), rec.Totals().Bodies
	t.Logf("figure: %s, nothing changed in %d mailboxes: %d commands", v.name, len(names), len(got))
	if bodies != 0 || len(got) > 4*len(names)+4 {
		t.Errorf("nothing changed, and it cost %d bodies and the commands %q", bodies, got)
	}

	// A second start on the same data keeps everything. Meanwhile a mailbox was removed that stays as a parent; Dovecot
	// goes on to list it as before until its own list is made anew.
	must(t, p.Stop())
	delete(names, "Tief/A & B")
	delete(oursNow, "Tief/A & B")
	cmd(t, up, "DELETE "+wire(v.upstream("Tief/A & B")))
	_, err = w.dovecot.Exec(t.Context(), "rm -f "+w.dovecot.Home("variant")+"/dovecot.list.index*")
	must(t, err)
	m.Args = []string{"--periodic-sync-interval", "2s"}
	p = started(t, m)
	must(t, p.Force(t.Context()))
	c, up = login(t, p.Login), upstreamLogin(t, &w, "variant")
	oursThen, _ := v.both(t, c, up, maps.Values(names))
	sameUIDs(t, oursNow, oursThen)

	// News comes without being asked for, pushed or not.
	name := "Listen/日本語"
	cmd(t, up, "SELECT "+wire(v.upstream(name)))
	cmd(t, up, `STORE 1 FLAGS (\Draft $Later)`)
	cmd(t, up, "APPEND INBOX ", []byte("Subject: later\r\n\r\nx\r\n"))
	must(t, harness.Eventually(t.Context(), time.Minute, "news comes by itself", func() (bool, error) {
		cmd(t, c, "EXAMINE "+wire(v.client(name)))
		flagged := len(found(cmd(t, c, "SEARCH DRAFT KEYWORD $Later"))) == 1
		return flagged && status(t, c, "INBOX", "MESSAGES") == fmt.Sprint(len(oursNow["INBOX"])+1), nil
	}))
	v.both(t, c, up, maps.Values(names))
	v.onlyOffered(t, rec)
}

// both checks that both sides list the same mailboxes with the same mail, and returns the rows by name.
func (v variant) both(t *testing.T, c, up *imapc.Client, names iter.Seq[string]) (ours, theirs map[string][]row) {
	t.Helper()
	read := func(c *imapc.Client, spelled func(string) string) map[string][]row {
		all := map[string][]row{}
		for name := range names {
			rows, err := fetchBox(c, spelled(name), itemsBody)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[name] = append([]row{}, rows...) // an empty mailbox is not nil
		}
		return all
	}
	ours, theirs = read(c, v.client), read(up, v.upstream)
	sameMail(t, ours, theirs)

	mirrored, want := tree(t, c), map[string]string{}
	for name, attrs := range tree(t, up) {
		separator, attrs, _ := strings.Cut(attrs, " ")
		want[strings.ReplaceAll(name, separator, "/")] = "/ " + attrs
	}
	all := maps.Clone(want)
	maps.Copy(all, mirrored)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if mirrored[name] != want[name] {
			t.Errorf("%q is listed as %q, upstream as %q", name, mirrored[name], want[name])
		}
	}
	return ours, theirs
}

// tree returns the mailboxes that are listed, each with its separator and attributes. What cannot be selected need not
// be told apart from what does not exist: an upstream without LIST-EXTENDED does not either.
func tree(t *testing.T, c *imapc.Client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, u := range cmd(t, c, `LIST "" "*" RETURN (SPECIAL-USE CHILDREN)`).Untagged {
		if u.Name != "LIST" || len(u.Data) < 3 {
			continue
		}
		var attrs []string
		for _, a := range u.Data[0].Texts() {
			switch a = strings.ToLower(a); a {
			case `\marked`, `\unmarked`:
			case `\nonexistent`:
				attrs = append(attrs, `\noselect`)
			default:
				attrs = append(attrs, a)
			}
		}
		slices.Sort(attrs)
		all[u.Data[2].Text] = u.Data[1].Text + " " + strings.Join(slices.Compact(attrs), " ")
	}
	return all
}

// change changes what can change: mail comes and goes, flags change, mailboxes are made, renamed, removed and replaced.
// It brings names up to date.
func (v variant) change(t *testing.T, up *imapc.Client, names map[string]string) {
	t.Helper()
	deliver := func(name, subject string) {
		cmd(t, up, "APPEND "+wire(v.upstream(name))+` (\Seen $New) "05-Feb-2003 10:00:00 +0100" `,
			[]byte("Subject: "+subject+"\r\n\r\n"+strings.Repeat("x", 1000)+"\r\n"))
	}
	in := func(name string, commands ...string) {
		cmd(t, up, "SELECT "+wire(v.upstream(name)))
		for _, text := range commands {
			cmd(t, up, text)
		}
	}
	in("INBOX", `STORE 1:* -FLAGS.SILENT (\Deleted)`, `STORE 2,5 +FLAGS (\Flagged $Variant)`, `STORE 3 FLAGS ()`,
		`STORE 7:9,20 +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
	deliver("INBOX", "one")
	deliver("INBOX", "two")
	// As many as before, but not the same.
	in("Work", `STORE 1:* -FLAGS.SILENT (\Deleted)`, `STORE 3 +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
	deliver("Work", "instead")
	// Nothing but a flag; nothing but the last message.
	in("Archive", `STORE 4 FLAGS (\Answered $Variant)`)
	in("Lists/go-nuts", `STORE 1:* -FLAGS.SILENT (\Deleted)`, `STORE * +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
	deliver("Entwürfe/Älteres & Neues", "draft")

	for _, name := range []string{"Neu/Grün & Weiß", "Neu/leer"} {
		cmd(t, up, "CREATE "+wire(v.upstream(name)))
		names["new "+name] = name
	}
	deliver("Neu/Grün & Weiß", "first")
	cmd(t, up, "RENAME "+wire(v.upstream("Archive/2002"))+" "+wire(v.upstream("Früher/日本 & so")))
	names["Archive/2002"], names["Archive/2002/Q3"] = "Früher/日本 & so", "Früher/日本 & so/Q3"
	for _, name := range []string{"Junk", "A"} {
		cmd(t, up, "DELETE "+wire(v.upstream(name)))
		delete(names, name)
	}
	cmd(t, up, "DELETE "+wire(v.upstream("Trash")))
	cmd(t, up, "CREATE "+wire(v.upstream("Trash")))
	deliver("Trash", "another")
	cmd(t, up, "SELECT INBOX") // not what was deleted
}

// sameMessages checks what a change of a mailbox means for the UIDs of the mirror: a message that stayed upstream keeps
// its UID, and one that came has a UID above all that there were.
func sameMessages(t *testing.T, name string, ours, oursNow, theirs, theirsNow []row) {
	t.Helper()
	if len(ours) != len(theirs) || len(oursNow) != len(theirsNow) {
		return // it was reported
	}
	was, highest := map[uint32]row{}, uint32(0) // by UID upstream
	for i, m := range ours {
		was[theirs[i].uid] = m
		highest = max(highest, m.uid)
	}
	for i, m := range oursNow {
		old, known := was[theirsNow[i].uid]
		switch known = known && old.sha == m.sha; {
		case known && old.uid != m.uid:
			t.Errorf("%s: UID %d became %d", name, old.uid, m.uid)
		case !known && m.uid <= highest:
			t.Errorf("%s: a new message has UID %d, and there was UID %d before", name, m.uid, highest)
		}
	}
}

// needs lists what a command looks like that takes a capability.
var needs = map[string]*regexp.Regexp{
	"IDLE":          regexp.MustCompile(`^IDLE`),
	"CONDSTORE":     regexp.MustCompile(`CONDSTORE|CHANGEDSINCE|MODSEQ`),
	"QRESYNC":       regexp.MustCompile(`QRESYNC|VANISHED`),
	"LIST-EXTENDED": regexp.MustCompile(`^LIST .* RETURN`),
	"LIST-STATUS":   regexp.MustCompile(`^LIST .* STATUS`),
	"ESEARCH":       regexp.MustCompile(`SEARCH RETURN`),
	"ENABLE":        regexp.MustCompile(`^ENABLE`),
	"ID":            regexp.MustCompile(`^ID( |$)`),
	"UNSELECT":      regexp.MustCompile(`^UNSELECT`),
	"UIDPLUS":       regexp.MustCompile(`^UID EXPUNGE`),
	"MOVE":          regexp.MustCompile(`^(UID )?MOVE`),
	"LITERAL+":      regexp.MustCompile(`\{\d+\+\}`),
	"SASL-IR":       regexp.MustCompile(`^AUTHENTICATE \S+ `),
}

// onlyOffered checks that no command used what the upstream does not advertise.
func (v variant) onlyOffered(t *testing.T, rec *recorder.Recorder) {
	t.Helper()
	all := rec.Commands()
	if len(all) == 0 {
		t.Error("no command was recorded")
	}
	offered := strings.Fields(v.Capability)
	for capability, form := range needs {
		if len(offered) == 0 || slices.Contains(offered, capability) {
			continue
		}
		if i := slices.IndexFunc(all, func(c recorder.Command) bool { return form.MatchString(c.String()) }); i >= 0 {
			t.Errorf("%s is not offered, and this was sent: %s", capability, all[i])
		}
	}
}

// launch starts the program with arguments of the test's own, waits until what it prints matches, and returns the groups
// of the match. It is asked to end with the test, and must end well.
func launch(t *testing.T, awaited, binary string, args ...string) []string {
	t.Helper()
	log := write(t, "log", nil)
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer out.Close()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	c := exec.CommandContext(ctx, binary, args...)
	c.Stdout, c.Stderr, c.WaitDelay = out, out, 30*time.Second
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	must(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("imapped %s: %v", args[0], err)
		}
		if text, err := os.ReadFile(log); t.Failed() {
			t.Logf("imapped %q printed, %v:\n%s", args, err, text)
		}
	})
	var found []string
	must(t, harness.Eventually(t.Context(), time.Minute, "imapped "+args[0]+" starts", func() (bool, error) {
		if len(ended) > 0 {
			return false, fmt.Errorf("%w: it ended", harness.ErrNever)
		}
		text, err := os.ReadFile(log)
		found = regexp.MustCompile(awaited).FindStringSubmatch(string(text))
		return found != nil, err
	}))
	return found[1:]
}

// write writes a file of the test and returns its name.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(name, data, 0o600))
	return name
}

// holds waits until the mirror has as many messages and bodies as the boxes.
func holds(t *testing.T, m harness.Mirror, boxes []harness.Box) {
	t.Helper()
	messages, _ := harness.Count(boxes)
	must(t, harness.Eventually(t.Context(), time.Minute, "the first mirror", func() (bool, error) {
		s, err := m.Status(t.Context())
		return s.Messages == messages && s.Bodies == messages, err
	}))
}

// secureUpstream reaches the upstream by implicit TLS and by STARTTLS, with a certificate that is trusted, that is not,
// that is for another name, and that is not looked at. SSL_CERT_FILE names what is trusted instead of the machine's own.
func secureUpstream(t *testing.T) {
	w := theWorld(t)
	boxes := harness.Account(w.raw[:100], 24)
	must(t, w.dovecot.Load(t.Context(), "secure", boxes))
	password := write(t, "password", []byte(harness.Password+"\n"))
	certificate, err := w.dovecot.Exec(t.Context(), "cat /etc/dovecot/cert.pem")
	must(t, err)
	trusted := write(t, "cert.pem", []byte(certificate))
	// The certificate is for 127.0.0.1, where the container is not.
	implicit, err := faultproxy.Listen("127.0.0.1:0", w.dovecot.TLSAddr)
	must(t, err)
	t.Cleanup(func() { implicit.Close() })
	start, err := recorder.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { start.Close() })

	for _, c := range []struct {
		name, url, trusted string
		args               []string
		refused            bool
	}{
		{"imaps, trusted", "imaps://secure@" + implicit.Addr(), trusted, nil, false},
		{"imaps, not trusted", "imaps://secure@" + implicit.Addr(), "", nil, true},
		{"imaps, for another name", "imaps://secure@" + w.dovecot.TLSAddr, trusted, nil, true},
		{"imaps, not looked at", "imaps://secure@" + w.dovecot.TLSAddr, "", []string{"--insecure"}, false},
		{"STARTTLS, trusted", "imap://secure@" + start.Addr(), trusted, nil, false},
		{"STARTTLS, not trusted", "imap://secure@" + start.Addr(), "", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SSL_CERT_FILE", c.trusted)
			start.Reset()
			m := harness.Mirror{Binary: w.binary, Data: filepath.Join(t.TempDir(), "data")}
			args := append([]string{"--password-file", password}, c.args...)
			out, err := m.Run(t.Context(), append([]string{"test-upstream", "--json", "--url", c.url}, args...)...)
			var said struct {
				OK   bool
				Step string `json:"failed_step"`
			}
			if err := json.Unmarshal([]byte(out), &said); err != nil {
				t.Fatalf("test-upstream printed %q: %v", out, err)
			}
			if said.OK == c.refused || (err != nil) != c.refused || c.refused && said.Step != "TLS" {
				t.Errorf("test-upstream: %v, %s", err, out)
			}
			if !c.refused {
				args = append([]string{"mirror", c.url, "--listen", "127.0.0.1:0", "--data", m.Data}, args...)
				port := launch(t, `(?m)^\s*Port\s+(\d+)`, w.binary, args...)[0]
				holds(t, m, boxes)
				ours := login(t, func(ctx context.Context) (*imapc.Client, error) {
					return imapc.Login(ctx, "127.0.0.1:"+port, "secure", harness.Password)
				})
				sameMail(t, snapshot(t, ours, boxes, itemsBody), snapshot(t, upstreamLogin(t, w, "secure"), boxes, itemsBody))
			}
			encrypted(t, start, strings.HasPrefix(c.url, "imap:"))
		})
	}
}

// encrypted checks that STARTTLS was sent where it was to be, and nothing else in the clear.
func encrypted(t *testing.T, rec *recorder.Recorder, started bool) {
	t.Helper()
	all := rec.Commands()
	if other := slices.ContainsFunc(all, func(c recorder.Command) bool { return c.Verb != "STARTTLS" }); other || started != (len(all) > 0) {
		t.Errorf("sent in the clear: %v", all)
	}
}

// secureClients serves by "run" with a certificate: implicit TLS here, STARTTLS where other machines connect to. Its
// account reaches the upstream by STARTTLS without looking at the certificate.
func secureClients(t *testing.T) {
	w := theWorld(t)
	boxes := harness.Account(w.raw[:100], 25)
	must(t, w.dovecot.Load(t.Context(), "tlsclient", boxes))
	rec, err := recorder.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { rec.Close() })
	// The address that this machine has for the container: clients that connect to it do not come from loopback.
	probe, err := (&net.Dialer{}).DialContext(t.Context(), "udp", w.dovecot.Addr)
	must(t, err)
	outside := probe.LocalAddr().(*net.UDPAddr).IP
	probe.Close()
	const user = "me@example.org"
	m := harness.Mirror{Binary: w.binary, Data: filepath.Join(t.TempDir(), "data")}
	password := write(t, "password", []byte(harness.Password+"\n"))
	_, err = m.Run(t.Context(), "create-user", "--username-email", user, "--password-file", password)
	must(t, err)
	host, port, _ := strings.Cut(rec.Addr(), ":")
	_, err = m.Run(t.Context(), "add-account", "--user-email", user, "--email-address", user, "--upstream-host", host,
		"--upstream-port", port, "--upstream-tls-mode", "starttls", "--upstream-insecure", "--upstream-username", "tlsclient",
		"--upstream-secret-file", password)
	must(t, err)
	cert, err := w.dovecot.Exec(t.Context(), fmt.Sprintf(`cd "$(mktemp -d)" && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=%s \
		-addext subjectAltName=DNS:%[1]s,IP:%[1]s,IP:127.0.0.1 -keyout key -out cert 2>/dev/null; cat cert key`, outside))
	must(t, err)
	pair := write(t, "pair.pem", []byte(cert))
	addrs := launch(t, `(?s)address=(\S+) tls=false.*address=(\S+) tls=true`, w.binary, "run", "--data", m.Data,
		"--imap-plaintext-bind", net.JoinHostPort(outside.String(), "0"), "--imap-tls-bind", "127.0.0.1:0",
		"--imap-tls-cert-path", pair, "--imap-tls-key-path", pair)
	plain, secure := addrs[0], addrs[1]
	holds(t, m, boxes)
	encrypted(t, rec, true)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	ours := login(t, func(ctx context.Context) (*imapc.Client, error) {
		return imapc.Dial(ctx, secure, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
	})
	cmd(t, ours, "LOGIN "+imapc.Quote(user)+" "+harness.Password)
	rows := snapshot(t, ours, boxes, itemsBody)
	sameMail(t, rows, snapshot(t, upstreamLogin(t, w, "tlsclient"), boxes, itemsBody))

	var refused *imapc.StatusError
	if _, err := imapc.Login(t.Context(), plain, user, harness.Password); !errors.As(err, &refused) || refused.Code != "PRIVACYREQUIRED" {
		t.Errorf("a login in the clear from elsewhere: %v", err)
	}

	// Real clients, by STARTTLS and by implicit TLS.
	c := clients(t)
	must(t, c.WriteFile(t.Context(), "/cert.pem", cert))
	for _, how := range []string{"--ssl-reqd imap://" + plain, "imaps://" + secure} {
		get := fmt.Sprintf("curl -sS --max-time 60 --user %s:%s --cacert %%s %s'/INBOX;UID=%d' | sha256sum",
			user, harness.Password, how, rows["INBOX"][0].uid)
		out, err := c.Exec(t.Context(), fmt.Sprintf(get, "/cert.pem"))
		if want := fmt.Sprintf("%x", rows["INBOX"][0].sha); err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("curl %s: %q, %v, want %s", how, out, err, want)
		}
		if out, err := c.Exec(t.Context(), fmt.Sprintf(get, "/etc/ssl/certs/ca-certificates.crt")); !strings.Contains(out, "curl: (60)") {
			t.Errorf("curl %s took a certificate that it does not trust: %q, %v", how, out, err)
		}
	}
	conf, err := harness.MbsyncConfig(plain, user, "/mail")
	must(t, err)
	must(t, c.WriteFile(t.Context(), "/mbsyncrc", strings.Replace(conf, "SSLType None", "SSLType STARTTLS\nCertificateFile /cert.pem", 1)))
	out, err := c.Exec(t.Context(), `mkdir -p /mail && mbsync -q -c /mbsyncrc -a
find /mail -type f -path '*/cur/*' -o -type f -path '*/new/*' | wc -l`)
	if messages, _ := harness.Count(boxes); err != nil || strings.TrimSpace(out) != fmt.Sprint(messages) {
		t.Errorf("mbsync stored %q messages of %d: %v", out, messages, err)
	}
}
