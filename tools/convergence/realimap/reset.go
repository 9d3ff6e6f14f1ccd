package realimap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"imapped/tools/convergence/upstreamsim"
)

// resetScript gives a mailbox (folder FOLDER of HOME) the UIDVALIDITY VALIDITY and its messages UIDs from FIRST on, in
// their order, as Dovecot has them in a Maildir. Sessions of the user end before. The list of UIDs is locked as Dovecot
// itself does it, by making the file that becomes the new list.
const resetScript = `set -eu
doveadm kick USER >/dev/null 2>&1 || :
n=0
while doveadm -f flow who -1 USER 2>/dev/null | grep -q imap && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.02; done
cd 'HOME/FOLDER'
until (set -C; : >dovecot-uidlist.lock) 2>/dev/null; do sleep 0.01; done
awk -v v=VALIDITY -v u=FIRST '
  NR == FNR { if (FNR > 1) n++; next }
  FNR == 1 { sub(/V[0-9]+/, "V" v); sub(/N[0-9]+/, "N" (u + n)); print; next }
  { i = index($0, " :"); print u++ substr($0, i) }' dovecot-uidlist dovecot-uidlist >dovecot-uidlist.lock
chown 5000:5000 dovecot-uidlist.lock
rm -f dovecot.index* 'HOME'/dovecot.list.index*
mv dovecot-uidlist.lock dovecot-uidlist
`

// shell runs a script about the user's mail.
func (s *Server) shell(script string, more ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	return s.c.Shell(ctx, strings.NewReplacer(append(more, "HOME", s.c.Home, "USER", s.c.User)...).Replace(script))
}

// Clear removes the user's mail for good.
func (s *Server) Clear() error {
	return s.shell("doveadm kick USER >/dev/null 2>&1 || :\nrm -rf 'HOME'\nrmdir \"$(dirname 'HOME')\" 2>/dev/null || :\n")
}

// Reset gives a mailbox a new UIDVALIDITY and its messages new UIDs, from first on. Nobody is connected meanwhile.
func (s *Server) Reset(b *upstreamsim.Box, first uint32) bool {
	s.acting.Lock()
	defer s.acting.Unlock()
	s.opening.Lock()
	defer s.opening.Unlock()
	at, _, ok := s.where(b, nil)
	if !ok || !s.isStill(at) {
		return false
	}
	s.Cut()
	old, err := s.inOrder(at.validity)
	validity := at.validity + 1_000_000
	folder := "."
	if at.name != "INBOX" {
		folder = "." + strings.ReplaceAll(at.name, string(s.c.Delimiter), ".")
	}
	if err == nil {
		s.hangUp()
		err = s.shell(resetScript, "VALIDITY", fmt.Sprint(validity), "FIRST", fmt.Sprint(max(first, 1)), "FOLDER", folder)
	}
	if err != nil {
		s.fail(fmt.Errorf("reset: %w", err))
		return false
	}
	now, err := s.read()
	if err != nil {
		s.fail(fmt.Errorf("reset: %w", err))
		return false
	}
	i := slices.IndexFunc(now, func(f found) bool { return f.validity == validity })
	if i < 0 {
		s.fail(fmt.Errorf("reset: %q has not the UIDVALIDITY %d", at.name, validity))
		return false
	}
	s.note(func(h *shadow, _ int) {
		h.boxes[validity], h.at[b] = b, place{name: at.name, validity: validity}
		for _, row := range now[i].rows {
			raw := now[i].raws[row.UID]
			k := slices.IndexFunc(old, func(m *upstreamsim.Message) bool { return m.Raw == raw })
			if k < 0 {
				h.message(validity, row.UID, raw)
				continue
			}
			m := old[k]
			old = slices.Delete(old, k, k+1)
			h.names[[2]uint32{validity, row.UID}] = m
			h.facts[m].validity, h.facts[m].uid = validity, row.UID
		}
	})
	return true
}

// inOrder returns the messages that there are of a UIDVALIDITY now, in the order of UIDs.
func (s *Server) inOrder(validity uint32) (out []*upstreamsim.Message, err error) {
	all, err := s.read()
	s.note(func(h *shadow, _ int) {
		for _, f := range all {
			for _, row := range f.rows {
				if f.validity == validity {
					out = append(out, h.message(validity, row.UID, f.raws[row.UID]))
				}
			}
		}
	})
	return out, err
}
