package server

import (
	"context"

	"imapped/app/session"
	"imapped/domain/fault"
)

func (f *fake) setQuota(octets int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.quota = octets
}

// used is the octets of all messages. f.mu is held.
func (f *fake) used() (n int64) {
	for _, b := range f.boxes {
		n += b.status().Size
	}
	return n
}

// room says whether the fake may hold so many octets more. f.mu is held.
func (f *fake) room(octets int64) error {
	if f.quota > 0 && octets > 0 && f.used()+octets > f.quota {
		return fault.New(fault.OverQuota, "add messages", "there is no room")
	}
	return nil
}

func (a *fakeAppend) size() (n int64) {
	for _, m := range a.msgs {
		n += m.Size
	}
	return n
}

func (s *fakeSession) Quota(_ context.Context, root string) (session.Quota, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if err := s.f.fails("quota"); err != nil {
		return session.Quota{}, err
	}
	if s.f.quota == 0 || root != s.f.root {
		return session.Quota{}, fault.New(fault.NotFound, "quota", "no such quota root")
	}
	return session.Quota{Root: root, Used: s.f.used(), Limit: s.f.quota}, nil
}

func (s *fakeSession) QuotaRoots(ctx context.Context, _ string) ([]session.Quota, error) {
	s.f.mu.Lock()
	quota := s.f.quota
	s.f.mu.Unlock()
	if quota == 0 {
		return nil, nil
	}
	q, err := s.Quota(ctx, s.f.root)
	return []session.Quota{q}, err
}
