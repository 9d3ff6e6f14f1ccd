package syncer_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/adapters/upstream"
	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/clock"
)

func TestDovecot(t *testing.T) {
	if os.Getenv("G_DOVE") == "" {
		t.Skip()
	}
	ctx := context.Background()
	dir := t.TempDir()
	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "meta.db"), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	u, _ := db.CreateUser(ctx, account.User{Name: "ann", Created: time.Unix(1, 0)})
	port := uint16(14143)
	if p := os.Getenv("G_PORT"); p != "" {
		fmt.Sscan(p, &port)
	}
	user := "u1"
	if p := os.Getenv("G_USER"); p != "" {
		user = p
	}
	acc, err := db.CreateAccount(ctx, account.Account{
		User: u.ID, Display: "Ann", Email: "ann@example.org", Username: user,
		Upstream: account.Endpoint{Host: "127.0.0.1", Port: port, TLS: account.TLSPlain},
		Secret:   account.Secret{KeyID: "plain", Sealed: []byte("secret")}, Created: time.Unix(1, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	bl, err := blobfs.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	p := syncer.Ports{
		Accounts: db, Leases: steady{db}, Statuses: steady{db}, Mirror: steady{db}, Messages: db, Bodies: steady{db}, Blobs: bl, Dialer: &upstream.Dialer{},
		Secrets: plainSealer{}, Bus: new(memory.Bus), Clock: clock.System{}, Log: log,
	}
	m := syncer.New(p, syncer.Config{Poll: time.Hour})
	start := time.Now()
	cctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { _ = m.Run(cctx); close(done) }()
	for {
		if _, ok := m.Status(acc.ID); ok {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := m.Force(ctx, acc.ID, nil); err != nil {
		t.Fatal(err)
	}
	t.Log("first mirror", time.Since(start))
	for range 3 {
		start = time.Now()
		if err := m.Force(ctx, acc.ID, nil); err != nil {
			t.Fatal(err)
		}
		t.Log("nothing", time.Since(start))
	}
	ms, _ := db.Mirrored(ctx, acc.ID)
	for _, b := range ms {
		t.Log(b.Name, b.Messages, b.Bodies, b.Size)
	}
	var inbox int64
	for _, b := range ms {
		if b.Name == "INBOX" {
			inbox = int64(b.ID)
		}
	}
	time.Sleep(time.Second)
	sub := p.Bus.Subscribe(acc.ID, mailbox.ID(inbox))
	for i := range 5 {
		name := fmt.Sprintf("%d.M%dP9.host", time.Now().UnixNano()/1000000000, time.Now().UnixNano())
		raw := mail(700000+i, 100)
		tmp := "/tmp/gdove/mail/" + user + "/tmp/" + name
		if err := os.WriteFile(tmp, []byte(raw), 0o666); err != nil {
			t.Fatal(err)
		}
		_ = os.Chown(tmp, 8, 8)
		start = time.Now()
		_ = os.Rename(tmp, "/tmp/gdove/mail/"+user+"/new/"+name)
		select {
		case <-sub.C():
			t.Log("push", time.Since(start))
		case <-time.After(5 * time.Second):
			t.Error("no push")
		}
		time.Sleep(300 * time.Millisecond)
	}
	ms, _ = db.Mirrored(ctx, acc.ID)
	for _, b := range ms {
		t.Log(b.Name, b.Messages, b.Bodies, b.Size)
	}
	data, _ := os.ReadFile("/proc/self/status")
	for _, l := range []byte{} {
		_ = l
	}
	for _, line := range splitLines(string(data)) {
		if len(line) > 5 && (line[:5] == "VmHWM" || line[:5] == "VmRSS") {
			t.Log(line)
		}
	}
	cancel()
	<-done
	bl.Close()
	db.Close()
}

func splitLines(s string) (out []string) {
	cur := ""
	for _, c := range s {
		if c == '\n' {
			out = append(out, cur)
			cur = ""
			continue
		}
		cur += string(c)
	}
	return out
}
