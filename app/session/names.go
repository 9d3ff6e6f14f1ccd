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
		for _, p := range tree {
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

// tree returns every mailbox of the session in the order of their names: the first account's at the root, those of
// each further account below its prefix, which is a place that cannot be selected.
func (l *login) tree(ctx context.Context) ([]place, error) {
	accounts := []account.Account{}
	if l.scope != nil {
		accounts = append(accounts, *l.scope)
	} else {
		all, err := l.svc.c.Accounts.Accounts(ctx, l.user.ID)
		if err != nil {
			return nil, fault.Wrap("list accounts", err)
		}
		accounts = all
	}
	var tree []place
	for i, acc := range accounts {
		boxes, err := l.svc.c.Mailboxes.Mailboxes(ctx, acc.ID)
		if fault.Is(err, fault.NotFound) {
			continue // the account was deleted just now
		}
		if err != nil {
			return nil, fault.Wrap("list mailboxes", err)
		}
		prefix := ""
		if i > 0 {
			top := accountName(acc, tree)
			prefix = top + delimiter
			tree = append(tree, place{
				name: top, inbox: -1,
				info: mailbox.Info{Account: acc.ID, Attrs: mailbox.NoSelect},
			})
		}
		for _, info := range boxes {
			p := place{name: prefix + info.Name, info: info, local: acc.Local, inbox: -1}
			if info.Name == inbox || strings.HasPrefix(info.Name, inbox+delimiter) {
				p.inbox = len(prefix)
			}
			tree = append(tree, p)
		}
	}
	slices.SortFunc(tree, func(a, b place) int { return cmp.Compare(a.name, b.name) })
	return tree, nil
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
