package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"imapped/adapters/s3/s3test"
	"imapped/app/sweep"
	"imapped/domain/account"
)

// storedIn returns the settings that name a bucket.
func storedIn(b *s3test.Bucket) []string {
	return []string{"R2_ENDPOINT=" + b.Config.Endpoint, "R2_BUCKET=" + b.Config.Bucket, "R2_ACCESS_KEY_ID=" + b.Config.AccessKeyID,
		"R2_SECRET_ACCESS_KEY=" + b.Config.SecretAccessKey}
}

// sealedObjects checks that nothing in the bucket, neither a name nor an object, shows any of what mail holds, and returns the
// names of the messages' objects.
func sealedObjects(t *testing.T, b *s3test.Bucket, mail ...string) (names []string) {
	t.Helper()
	for _, name := range b.Names(t) {
		data := bytes.ToLower(b.Get(t, name))
		for _, text := range append(mail, "subject:", "from:", "message-id:", "text/plain", demoName) {
			short := len(text) < 5 && len(data) > 1<<20 // four letters come up by chance in so many octets
			if strings.Contains(name, hex.EncodeToString([]byte(text))) || !short && bytes.Contains(data, []byte(text)) {
				t.Errorf("the object %s holds %q", name, text)
			}
		}
		if strings.Contains(name, "blobs/") {
			names = append(names, name)
			if !strings.HasPrefix(name, "users/") {
				t.Errorf("the object %s is not in the place of a user", name)
			}
		}
	}
	return names
}

// encryptedMail is what a client appends: a message that is stored at once, and one that is uploaded in parts.
func encryptedMail() []string {
	line := "Plainly readable, were it not sealed, is what stands in this line.\r\n"
	return []string{
		"Subject: between us\r\n\r\n" + line,
		"Subject: between us, at length\r\n\r\n" + strings.Repeat(line, 9<<20/len(line)),
	}
}

// TestEncrypted: with S3_ENCRYPT the bucket shows nothing of any message, and clients do not notice, also after a restart with an
// empty cache, and after the master key was changed.
func TestEncrypted(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *s3test.Server{"in process": s3test.Fake, "versitygw": s3test.Real} {
		t.Run(name, func(t *testing.T) { testEncrypted(t, server(t).Bucket(t)) })
	}
}

func testEncrypted(t *testing.T, bucket *s3test.Bucket) {
	environ := append(storedIn(bucket), "S3_ENCRYPT=true")
	up, mail := startUpstream(t), encryptedMail()
	f := newFleet(t, database.URL(t), environ...)
	f.addAccount(up)
	reads := func(n node) {
		t.Helper()
		c := dialMail(t, n.imap, "Sealed")
		for i, m := range mail {
			if got := c.ok("UID FETCH %d BODY.PEEK[]", i+1); !strings.Contains(got, fmt.Sprintf("{%d}\r\n%s)", len(m), m)) {
				t.Errorf("message %d comes back as %d bytes, %.200q", i+1, len(got), got)
			}
		}
		n.mirrors(t)
	}

	n := f.start()
	n.mirrors(t)
	c := dialMail(t, n.imap, "")
	c.ok("CREATE Sealed")
	for _, m := range mail {
		c.ok("%s", appendLine("Sealed", m))
	}
	reads(n)
	there := dialMail(t, up.addr, "")
	there.eventually(func(s string) bool { return strings.Contains(s, "Sealed") }, `LIST "" *`)
	there.ok("SELECT Sealed")
	there.eventually(func(s string) bool { return found(s) == 2 }, `SEARCH SUBJECT "between us" BODY "plainly readable"`)
	n.stop()
	sealedObjects(t, bucket, "readable")
	n = f.start() // with a data directory of its own: nothing is in its cache
	reads(n)

	open := fleet{t, append(f.environ[:len(f.environ):len(f.environ)], "S3_ENCRYPT=false")}
	conf := configOf(t, append(open.environ, "IMAPPED_DATA="+t.TempDir())...)
	if in, err := openServer(t.Context(), conf, logger(conf)); err == nil || !strings.Contains(err.Error(), "S3_ENCRYPT: ") {
		t.Errorf("a node that does not encrypt starts: %v, %v", in, err)
	}
	open.cli(3, "restore", "--account-email", "#1", "--since", "1h")

	rotating := fleet{t, append(f.environ[:len(f.environ):len(f.environ)], "ENCRYPTION_MASTER_KEY="+otherKey, "ENCRYPTION_MASTER_KEY_PREVIOUS="+oneKey)}
	if text := rotating.cli(0, "rotate-key"); !strings.Contains(text, "1 of 1 upstream secrets") || !strings.Contains(text, "1 of 1 keys of users' messages") {
		t.Errorf("rotate-key says %q", text)
	}
	reads(n) // which has the old key only, but has the data keys
	n.stop()
	rotated := fleet{t, append(f.environ[:len(f.environ):len(f.environ)], "ENCRYPTION_MASTER_KEY="+otherKey)}
	if text := rotated.cli(0, "rotate-key"); !strings.Contains(text, "0 of 1 keys of users' messages") {
		t.Errorf("rotate-key, again, says %q", text)
	}
	n = rotated.start()
	reads(n)
	c = dialMail(t, n.imap, "Sealed")
	mail = append(mail, "Subject: between us, again\r\n\r\nPlainly readable, too.\r\n", "Subject: between us, no more\r\n\r\nPlainly readable.\r\n")
	c.ok("%s", appendLine("Sealed", mail[2]))
	c.ok("%s", appendLine("Sealed", mail[3]))
	reads(n)

	c.ok(`STORE 4 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	mail = mail[:3]
	n.stop()
	before := sealedObjects(t, bucket, "readable")
	for _, name := range before {
		bucket.Age(t, name, 2*time.Hour)
	}
	rotated.sweep()
	if after := sealedObjects(t, bucket, "readable"); len(after) != len(before)-1 {
		t.Errorf("of %d objects the sweep leaves %d, after one message was removed", len(before), len(after))
	}
	n = rotated.start()
	reads(n)
	n.stop()

	lost := fleet{t, append(f.environ[:len(f.environ):len(f.environ)], "ENCRYPTION_MASTER_KEY=lost, "+oneKey)}
	n = lost.start()
	c = dialMail(t, n.imap, "Sealed")
	if _, tagged := c.do("FETCH 1 BODY.PEEK[]"); !strings.HasPrefix(tagged, "NO [UNAVAILABLE]") || strings.Contains(tagged, "key") {
		t.Errorf("without the master key a message is answered %q", tagged)
	}
	if _, tagged := c.do("%s", appendLine("Sealed", "Subject: x\r\n\r\n")); !strings.HasPrefix(tagged, "NO [UNAVAILABLE]") || strings.Contains(tagged, "key") {
		t.Errorf("without the master key an APPEND is answered %q", tagged)
	}
	n.stop()
	n = rotated.start() // nothing was taken for damaged
	reads(n)
	n.stop()

	rotated.giveUpDataKeys()
	n = rotated.start()
	n.mirrors(t)
	reads(n) // from the provider, and stored under a new data key
	n.stop()
	if again := sealedObjects(t, bucket, "readable"); len(again) < len(before)+len(mail) {
		t.Errorf("%d objects are there, were %d under the old data key", len(again), len(before)-1)
	}
}

// giveUpDataKeys takes the data keys away, as docs/operations.md says it for a master key that is lost.
func (f *fleet) giveUpDataKeys() {
	f.t.Helper()
	conf := configOf(f.t, append(f.environ, "IMAPPED_DATA="+f.t.TempDir())...)
	if err := withStore(f.t.Context(), conf, func(in *instance) error {
		keys, err := in.store.AllDataKeys(f.t.Context())
		for user, key := range keys {
			err = errors.Join(err, in.store.ResealDataKey(f.t.Context(), user, key, account.Secret{}))
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
}

// sweep deletes what nothing names, as a node does, and forgets removed messages at once.
func (f *fleet) sweep() {
	f.t.Helper()
	conf := configOf(f.t, append(f.environ, "IMAPPED_DATA="+f.t.TempDir())...)
	in, err := openServer(f.t.Context(), conf, logger(conf))
	if err != nil {
		f.t.Fatal(err)
	}
	c := in.swept()
	c.Retention = -1
	if _, err := sweep.Sweep(f.t.Context(), c); err != nil {
		f.t.Error(err)
	}
	if err := in.close(); err != nil {
		f.t.Error(err)
	}
}
