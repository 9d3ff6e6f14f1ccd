package ops

import (
	"context"
	"io"
	"log/slog"

	"imapped/ports/audit"
)

var _ audit.Log = (*Audit)(nil)

// Audit is an audit.Log of JSON lines: {"time", "level", "msg": "audit", "audit": {"action", ...}}. It has no level that
// could switch it off.
type Audit struct{ log *slog.Logger }

// NewAudit returns a log that is written to w, a line with one Write for each record; its errors are w's own to tell.
func NewAudit(w io.Writer) *Audit { return &Audit{slog.New(slog.NewJSONHandler(w, nil))} }

// Record implements audit.Log.
func (a *Audit) Record(ctx context.Context, r audit.Record) {
	fields := make([]any, 0, 6)
	for _, f := range []struct{ name, value string }{
		{"action", r.Action}, {"actor", r.Actor}, {"subject", r.Subject}, {"remote", r.Remote}, {"session", r.Session},
		{"outcome", r.Outcome},
	} {
		if f.value != "" {
			fields = append(fields, slog.String(f.name, f.value))
		}
	}
	a.log.InfoContext(ctx, "audit", slog.Group("audit", fields...))
}
