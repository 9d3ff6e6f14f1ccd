package main

import (
	"log/slog"
	"os"
)

// logFlags says what is logged and how; the log goes to standard error.
type logFlags struct {
	Level  slog.Level `help:"Log from this level on: debug, info, warn, error." default:"info" env:"LOG_LEVEL"`
	Format string     `help:"How log records look." enum:"text,json" default:"text" env:"LOG_FORMAT"`
}

func (f *logFlags) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: f.Level}
	if f.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
