package harness

import (
	"context"
	"fmt"
	"net"
	"strings"

	"imapped/e2e/imapc"
)

const (
	dovecotImage = "imapped-e2e/dovecot"
	clientImage  = "imapped-e2e/client"
	// Password is the password of every user of the Dovecot image.
	Password = "secret"
)

// DovecotOptions is what a Dovecot offers.
type DovecotOptions struct {
	Separator  string // "/" by default
	Prefix     string // of the personal namespace, "" by default
	Capability string // what to advertise instead of everything
}

// Dovecot is a running upstream.
type Dovecot struct {
	running
	// Addr and TLSAddr are host:port of the plain (and STARTTLS) and the implicit TLS listener.
	Addr, TLSAddr string
}

// StartDovecot starts one.
func StartDovecot(ctx context.Context, o DovecotOptions) (*Dovecot, error) {
	c, err := start(ctx, dovecotImage, "starting up for imap", map[string]string{
		"SEPARATOR": o.Separator, "PREFIX": o.Prefix, "CAPABILITY": o.Capability,
	})
	if err != nil {
		return nil, err
	}
	ip, err := c.ContainerIP(ctx)
	if err != nil {
		_ = c.Close() // the first error says more
		return nil, fmt.Errorf("start dovecot: %w", err)
	}
	return &Dovecot{c, net.JoinHostPort(ip, "143"), net.JoinHostPort(ip, "993")}, nil
}

// Login logs a user in; every name exists.
func (d *Dovecot) Login(ctx context.Context, user string) (*imapc.Client, error) {
	return imapc.Login(ctx, d.Addr, user, Password)
}

// Load puts mailboxes into a user's account, by writing its Maildir. What is there of the same name is replaced.
func (d *Dovecot) Load(ctx context.Context, user string, boxes []Box) error {
	archive, err := maildir(user, boxes)
	if err != nil {
		return err
	}
	name := "/load-" + user + ".tar"
	if err := d.CopyToContainer(ctx, archive, name, 0o600); err != nil {
		return fmt.Errorf("load %s: %w", user, err)
	}
	_, err = d.Exec(ctx, "cd /srv/mail; rm -rf "+user+"; tar -xpf "+name+"; rm "+name)
	return err
}

// Home is a user's Maildir in the container.
func (d *Dovecot) Home(user string) string { return "/srv/mail/" + user + "/Maildir" }

// ResetUIDValidity gives a mailbox (INBOX, or a name without children's separators) another UIDVALIDITY and all its
// messages new UIDs, in their present order, as a server does that lost its index.
func (d *Dovecot) ResetUIDValidity(ctx context.Context, user, box string, validity, firstUID uint32) error {
	dir := d.Home(user)
	if f := folder(box); f != "" {
		dir += "/" + f
	}
	script := fmt.Sprintf(`cd '%s'
rm -f dovecot.index* '%s'/dovecot.list.index*
awk -v v=%d -v u=%d 'NR==1 { sub(/V[0-9]+/, "V" v); sub(/N[0-9]+/, "N" u+100000); print; next }
  { i = index($0, " :"); print u++ substr($0, i) }' dovecot-uidlist >uidlist.new
chown 5000:5000 uidlist.new
mv uidlist.new dovecot-uidlist`, dir, d.Home(user), validity, firstUID)
	_, err := d.Exec(ctx, script)
	return err
}

// Clients is a container with real mail clients in it. It shares the host's network, so that it reaches what the tests
// listen on.
type Clients struct{ running }

// StartClients starts one.
func StartClients(ctx context.Context) (*Clients, error) {
	c, err := start(ctx, clientImage, "", nil, hostNetwork)
	if err != nil {
		return nil, err
	}
	return &Clients{c}, nil
}

// WriteFile writes a file in the container.
func (c *Clients) WriteFile(ctx context.Context, name, text string) error {
	return c.CopyToContainer(ctx, []byte(text), name, 0o600)
}

// MbsyncConfig returns a configuration that pulls all mailboxes of a user into the Maildir dir.
func MbsyncConfig(addr, user, dir string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("@HOST@", host, "@PORT@", port, "@USER@", user, "@DIR@", dir).Replace(`IMAPStore far
Host @HOST@
Port @PORT@
User @USER@
Pass ` + Password + `
SSLType None
AuthMechs LOGIN

MaildirStore near
Path @DIR@/
Inbox @DIR@/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Sync Pull
Create Near
SyncState *
CopyArrivalDate yes
`), nil
}
