package main

import (
	"log/slog"
	"os"

	"imapped/cmd/imapped/config"
)

// logFlags says what is logged and how; the log goes to standard error.
type logFlags struct {
	Level  string `setting:"LOG_LEVEL" help:"Log from this level on: debug, info, warn, error."`
	Format string `setting:"LOG_FORMAT" help:"How log records look: text, json."`
}

// logger returns the logger of the process.
func logger(conf *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: conf.LogLevel}
	if conf.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
