package ops

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"imapped/domain/fault"
)

// stopTimeout is how long requests may go on when the server is to end.
const stopTimeout = 5 * time.Second

// Serve answers requests on l until ctx is done, waits a little for those that run, and returns nil. It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler: http.MaxBytesHandler(h, 4<<10), MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // strangers' broken requests
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fault.As(fault.Unavailable, "serve HTTP on "+l.Addr().String(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := srv.Shutdown(end)
	if err != nil {
		err = errors.Join(fault.Wrap("stop serving HTTP", err), srv.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fault.As(fault.Unavailable, "serve HTTP", served))
	}
	return err
}
