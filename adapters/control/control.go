// Package control lets the command line talk to the running server of the same data directory: HTTP over a Unix
// socket that only the directory's owner can open.
//
// Invariants:
//  1. The socket carries no secret and no mail: account numbers, progress and errors' texts only.
//  2. Whatever a command changed is stored before the server is told; what the server is told is a hint.
//  3. There is no server: Dial's calls fail with ErrNoServer, and the command works on the store alone.
package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
)

// ErrNoServer says that no server runs on this data directory.
var ErrNoServer = errors.New("no server is running on this data directory")

// Progress is how far a synchronisation is.
type Progress struct {
	Messages uint64 `json:"messages"` // known here
	Bodies   uint64 `json:"bodies"`   // of which the body is stored
	Pending  int64  `json:"pending"`  // bytes of bodies that are still to come
	Text     string `json:"text"`     // what is being done
}

// Server is what the running server does when asked.
type Server interface {
	// Reload makes it look at the accounts again.
	Reload(ctx context.Context) error
	// Force synchronises the account now and reports on the way.
	Force(ctx context.Context, id account.ID, progress func(Progress)) error
	// Changed says that another process changed the account's mailboxes or its queue: sessions look for news, and what
	// waits to be made upstream is begun with.
	Changed(ctx context.Context, id account.ID) error
}

// line is one line of the answer to a synchronisation.
type line struct {
	Progress
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
	Kind  uint8  `json:"kind,omitempty"`
}

// Listen opens the socket, in place of one that a dead server left. The caller holds the data directory's lock.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.As(fault.Unavailable, "open control socket", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fault.As(fault.Unavailable, "open control socket", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fault.As(fault.Unavailable, "open control socket", err), l.Close())
	}
	return l, nil
}

// Serve answers on the listener until ctx is done, and waits for what is running.
func Serve(ctx context.Context, l net.Listener, s Server) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Reload(r.Context()))
	})
	mux.HandleFunc("POST /v1/accounts/{id}/sync", func(w http.ResponseWriter, r *http.Request) {
		if id, ok := accountOf(w, r); ok {
			force(w, r, s, id)
		}
	})
	mux.HandleFunc("POST /v1/accounts/{id}/changed", func(w http.ResponseWriter, r *http.Request) {
		if id, ok := accountOf(w, r); ok {
			answer(w, s.Changed(r.Context(), id))
		}
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fault.As(fault.Internal, "serve control socket", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(stop)
	<-done //nolint:errcheck // Serve says that it was shut down
	return fault.Wrap("stop control socket", err)
}

// accountOf returns the account that a request is about; when it is not a number the request is answered.
func accountOf(w http.ResponseWriter, r *http.Request) (account.ID, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "not an account number", http.StatusBadRequest)
	}
	return account.ID(id), err == nil
}

// answer answers what has no more to say than how it went.
func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func force(w http.ResponseWriter, r *http.Request, s Server, id account.ID) {
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	send := func(l line) {
		// A reader that went away ends the request's context, which ends Force: the error here says nothing more.
		if enc.Encode(l) == nil {
			_ = flush.Flush()
		}
	}
	last := line{Done: true}
	if err := s.Force(r.Context(), id, func(p Progress) { send(line{Progress: p}) }); err != nil {
		last.Error, last.Kind = err.Error(), uint8(fault.KindOf(err))
	}
	send(last)
}

// Client talks to the server of a data directory.
type Client struct{ http http.Client }

// Dial returns a client of the socket; nothing is sent yet.
func Dial(path string) *Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &Client{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
	}}}
}

// Close drops the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Reload asks the server to look at the accounts again.
func (c *Client) Reload(ctx context.Context) error { return c.tell(ctx, "/v1/reload") }

// Changed tells the server that this process changed the account's mailboxes or its queue.
func (c *Client) Changed(ctx context.Context, id account.ID) error {
	return c.tell(ctx, fmt.Sprintf("/v1/accounts/%d/changed", id))
}

func (c *Client) tell(ctx context.Context, path string) error {
	resp, err := c.post(ctx, path)
	if err != nil {
		return err
	}
	return fault.Wrap("ask the server", resp.Body.Close())
}

// Force asks the server to synchronise the account now, and reports on the way.
func (c *Client) Force(ctx context.Context, id account.ID, progress func(Progress)) error {
	resp, err := c.post(ctx, fmt.Sprintf("/v1/accounts/%d/sync", id))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(bytes.TrimSpace(lines.Bytes()), &l); err != nil {
			return fault.As(fault.Internal, "read the server's answer", err)
		}
		switch {
		case l.Error != "":
			return fault.New(fault.Kind(l.Kind), "", l.Error)
		case l.Done:
			return nil
		}
		progress(l.Progress)
	}
	if err := lines.Err(); err != nil {
		return fault.As(fault.Unavailable, "read the server's answer", err)
	}
	return fault.New(fault.Unavailable, "read the server's answer", "the server stopped")
}

func (c *Client) post(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://imapped"+path, nil)
	if err != nil {
		return nil, fault.As(fault.Internal, "ask the server", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoServer
	case err != nil:
		return nil, fault.As(fault.Unavailable, "ask the server", err)
	case resp.StatusCode != http.StatusOK:
		return nil, errors.Join(fault.Newf(fault.Unavailable, "ask the server", "it answered %s", resp.Status), resp.Body.Close())
	}
	return resp, nil
}
