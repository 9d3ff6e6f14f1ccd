package main

import (
	"context"
	"io"
	"os"
	"os/user"
	"strconv"

	"imapped/adapters/ops"
	"imapped/cmd/imapped/config"
	"imapped/ports/audit"
)

// auditFile is where, in the data directory, what operators do is recorded, by commands as by servers. Logins are in the log
// of the server alone: strangers cannot push anything out of this file, which is bounded.
const auditFile = "audit.log"

// maxAudit is how many octets of records there are in the file before it is put aside, in place of an older one.
const maxAudit = 8 << 20

// logins returns where logins are recorded; nil: nobody reads what this process says.
func logins(conf *config.Config, serves bool) audit.Log {
	if serves || conf.LogFormat == "json" {
		return ops.NewAudit(os.Stderr)
	}
	return nil
}

// acts returns where what operators do is recorded: where logins are, and in the file.
func (in *instance) acts() audit.Log {
	var w io.Writer = &ops.AuditFile{Path: in.path(auditFile), Max: maxAudit, Log: logger(in.conf)}
	if in.audit != nil {
		w = io.MultiWriter(os.Stderr, w)
	}
	return ops.NewAudit(w)
}

// record records an act of operators that is not one of in.admin.
func (in *instance) record(ctx context.Context, action, subject string, err error) {
	in.acts().Record(ctx, audit.Record{
		Action: action, Actor: operator(), Subject: audit.Clip(subject), Outcome: audit.Outcome(err),
	})
}

// operator is who runs this process. In the image nobody has a name.
func operator() string {
	if u, err := user.Current(); err == nil && u.Username != u.Uid {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}
