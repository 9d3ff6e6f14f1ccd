package session

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

const (
	delimiter = "/"
	inbox     = "INBOX"
	// maxKnown bounds the names that a session remembers.
	maxKnown = 64
)

// place is a name in a session's tree of mailboxes.
type place struct {
	name  string // as the client sees it
	info  mailbox.Info
	local bool // the account has no upstream
	inbox int  // where "INBOX", which is the same in any case, stands as a component of name; -1: nowhere
}

// placeholder says whether the place only holds other mailboxes.
func (p *place) placeholder() bool { return p.info.Attrs&mailbox.NoSelect != 0 }

// exists says whether there is a mailbox, or the prefix of an account, with the name.
func (p *place) exists() bool { return p.info.Account != 0 }

// is says whether a client means the place by the name.
func (p *place) is(name string) bool {
	if p.inbox < 0 || len(name) != len(p.name) {
		return name == p.name
	}
	end := p.inbox + len(inbox)
	return name[:p.inbox] == p.name[:p.inbox] && name[end:] == p.name[end:] &&
		strings.EqualFold(name[p.inbox:end], inbox)
}

// root is where an account's mailboxes stand in a session's tree.
type root struct {
	account account.ID
	local   bool
	email   string // the account's address
	prefix  string // what stands before each of their names; "" for the first account
}

// tree is every mailbox of a session: the first account's at the root, those of each further account below its prefix,
// which is a place that cannot be selected.
type tree struct {
	roots  []root
	places []place // in the order of their names
}

// locate returns the account in which a mailbox of the name is or would be, and the mailbox's name there: "" for the
// prefix of an account. fault.NotFound when the session has no account.
func (t *tree) locate(name string) (root, string, error) {
	if len(t.roots) == 0 {
		return root{}, "", fault.New(fault.NotFound, "find account", "there is no account")
	}
	at := t.roots[0]
	for _, r := range t.roots[1:] {
		if rest, ok := strings.CutPrefix(name+delimiter, r.prefix); ok {
			at, name = r, strings.TrimSuffix(rest, delimiter)
			break
		}
	}
	first, rest, below := strings.Cut(name, delimiter)
	if strings.EqualFold(first, inbox) {
		if name = inbox; below {
			name += delimiter + rest
		}
	}
	return at, name, nil
}

// stored returns the account's mailbox that has the name there; nil when there is none.
func (t *tree) stored(at root, name string) *place {
	for i := range t.places {
		if p := &t.places[i]; p.info.Account == at.account && p.info.ID != 0 && p.info.Name == name {
			return p
		}
	}
	return nil
}

// below returns the account's mailboxes below the name, in the order of their names.
func (t *tree) below(at root, name string) (found []place) {
	for _, p := range t.places {
		if p.info.Account == at.account && p.info.ID != 0 && strings.HasPrefix(p.info.Name, name+delimiter) {
			found = append(found, p)
		}
	}
	return found
}

// find returns the mailbox that the client's name means; fault.NotFound when there is none.
func (l *login) find(ctx context.Context, name string) (place, error) {
	if k, ok := l.recall(name); ok {
		info, err := l.svc.c.Mailboxes.Mailbox(ctx, k.account, k.mailbox)
		switch {
		case err == nil && info.Name == k.stored:
			return place{name: k.name, info: info, local: k.local, inbox: k.inbox}, nil
		case err != nil && !fault.Is(err, fault.NotFound):
			return place{}, err
		}
	}
	tree, err := l.tree(ctx)
	if err != nil {
		return place{}, err
	}
	for _, exact := range []bool{true, false} {
		for _, p := range tree.places {
			if p.name != name && (exact || !p.is(name)) {
				continue
			}
			l.remember(name, p)
			return p, nil
		}
	}
	return place{}, fault.New(fault.NotFound, "find mailbox", "no such mailbox")
}

func (l *login) recall(name string) (known, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.known, func(k known) bool { return k.asked == name })
	if i < 0 {
		return known{}, false
	}
	return l.known[i], true
}

func (l *login) remember(name string, p place) {
	if p.info.ID == 0 {
		return
	}
	k := known{
		asked: name, name: p.name, stored: p.info.Name, account: p.info.Account, mailbox: p.info.ID,
		local: p.local, inbox: p.inbox,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = slices.DeleteFunc(l.known, func(o known) bool { return o.asked == name })
	if len(l.known) == maxKnown {
		l.known = slices.Delete(l.known, 0, 1)
	}
	l.known = append(l.known, k)
}

// accounts returns the accounts that the session shows.
func (l *login) accounts(ctx context.Context) ([]account.Account, error) {
	if l.scope != nil {
		return []account.Account{*l.scope}, nil
	}
	all, err := l.svc.c.Accounts.Accounts(ctx, l.user.ID)
	return all, fault.Wrap("list accounts", err)
}

// tree reads the session's tree of mailboxes.
func (l *login) tree(ctx context.Context) (*tree, error) {
	accounts, err := l.accounts(ctx)
	if err != nil {
		return nil, err
	}
	t := &tree{}
	for i, acc := range accounts {
		boxes, err := l.svc.c.Mailboxes.Mailboxes(ctx, acc.ID)
		if fault.Is(err, fault.NotFound) {
			continue // the account was deleted just now
		}
		if err != nil {
			return nil, fault.Wrap("list mailboxes", err)
		}
		at := root{account: acc.ID, local: acc.Local, email: acc.Email}
		if i > 0 {
			top := accountName(acc, t.places)
			at.prefix = top + delimiter
			t.places = append(t.places, place{
				name: top, inbox: -1,
				info: mailbox.Info{Account: acc.ID, Attrs: mailbox.NoSelect},
			})
		}
		t.roots = append(t.roots, at)
		for _, info := range boxes {
			p := place{name: at.prefix + info.Name, info: info, local: acc.Local, inbox: -1}
			if info.Name == inbox || strings.HasPrefix(info.Name, inbox+delimiter) {
				p.inbox = len(at.prefix)
			}
			t.places = append(t.places, p)
		}
	}
	slices.SortFunc(t.places, func(a, b place) int { return cmp.Compare(a.name, b.name) })
	return t, nil
}

// accountName returns the name below which an account's mailboxes stand: its display name, or its address where a
// mailbox of the tree has that name already or stands below it.
func accountName(acc account.Account, tree []place) string {
	name := acc.Display
	taken := name == "" || strings.EqualFold(name, inbox) || slices.ContainsFunc(tree, func(p place) bool {
		return p.name == name || strings.HasPrefix(p.name, name+delimiter)
	})
	if taken {
		name = acc.Email
	}
	return strings.ReplaceAll(name, delimiter, "_")
}
