package nodes

import (
	"slices"
	"sync"
)

// Listeners is who hears what arrives at one end of a Calls, for adapters. The zero value is ready to use.
type Listeners struct {
	mu  sync.Mutex // held while one of them hears
	all []*func(Call)
}

// Receive is Calls.Receive. Any number may listen.
func (l *Listeners) Receive(fn func(Call)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, &fn)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = slices.DeleteFunc(l.all, func(p *func(Call)) bool { return p == &fn })
	}
}

// Hear passes calls on.
func (l *Listeners) Hear(calls ...Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		for _, fn := range l.all {
			(*fn)(c)
		}
	}
}

// HearText passes on the calls of which these are the texts. Those that cannot be understood are dropped.
func (l *Listeners) HearText(texts ...string) {
	for _, text := range texts {
		if c, err := Parse(text); err == nil {
			l.Hear(c)
		}
	}
}
