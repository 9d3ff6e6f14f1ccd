package parserbench

import (
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// session is a go-imap session that counts its calls and does nothing else.
type session struct {
	calls int
}

var _ imapserver.Session = (*session)(nil)

func (s *session) count() error { s.calls++; return nil }

func (s *session) Close() error { return nil }

func (s *session) Login(string, string) error {
	s.calls++
	return imapserver.ErrAuthFailed
}

func (s *session) Select(string, *imap.SelectOptions) (*imap.SelectData, error) {
	return &imap.SelectData{}, s.count()
}

func (s *session) Status(name string, _ *imap.StatusOptions) (*imap.StatusData, error) {
	var n uint32
	return &imap.StatusData{Mailbox: name, NumMessages: &n, NumUnseen: &n}, s.count()
}

func (s *session) List(*imapserver.ListWriter, string, []string, *imap.ListOptions) error {
	return s.count()
}

func (s *session) Search(imapserver.NumKind, *imap.SearchCriteria, *imap.SearchOptions) (*imap.SearchData, error) {
	return &imap.SearchData{}, s.count()
}

func (s *session) Fetch(*imapserver.FetchWriter, imap.NumSet, *imap.FetchOptions) error {
	return s.count()
}

func (s *session) Store(*imapserver.FetchWriter, imap.NumSet, *imap.StoreFlags, *imap.StoreOptions) error {
	return s.count()
}

func (s *session) Copy(imap.NumSet, string) (*imap.CopyData, error)      { return nil, s.count() }
func (s *session) Create(string, *imap.CreateOptions) error              { return s.count() }
func (s *session) Delete(string) error                                   { return s.count() }
func (s *session) Rename(string, string, *imap.RenameOptions) error      { return s.count() }
func (s *session) Subscribe(string) error                                { return s.count() }
func (s *session) Unsubscribe(string) error                              { return s.count() }
func (s *session) Poll(*imapserver.UpdateWriter, bool) error             { return nil }
func (s *session) Idle(*imapserver.UpdateWriter, <-chan struct{}) error  { return s.count() }
func (s *session) Unselect() error                                       { return nil }
func (s *session) Expunge(*imapserver.ExpungeWriter, *imap.UIDSet) error { return s.count() }
func (s *session) Append(string, imap.LiteralReader, *imap.AppendOptions) (*imap.AppendData, error) {
	return nil, s.count()
}
