package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"imapped/domain/fault"
)

// maxPasswordFile bounds what is read of a password file or of standard input.
const maxPasswordFile = 4096

// passwordFlags is how a command is given a password: never as an argument, which other users of the machine can see.
type passwordFlags struct {
	PasswordStdin bool   `help:"Read the password from the first line of standard input." xor:"password"`
	PasswordFile  string `help:"Read the password from the first line of this file." type:"existingfile" xor:"password"`
}

// read returns the password from wherever the flags say, or asks for it on the terminal; twice when confirm is set.
func (f passwordFlags) read(what string, confirm bool) ([]byte, error) {
	const op = "read password"
	switch {
	case f.PasswordStdin:
		return firstLine(os.Stdin)
	case f.PasswordFile != "":
		file, err := os.Open(f.PasswordFile)
		if err != nil {
			return nil, fault.As(fault.Invalid, op, err)
		}
		defer func() { _ = file.Close() }() // only read from
		return firstLine(file)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, fault.New(fault.Invalid, op,
			"there is no terminal to ask on: use --password-stdin or --password-file")
	}
	password, err := prompt(what + ": ")
	if err != nil || !confirm {
		return password, err
	}
	again, err := prompt("Once more: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(password, again) {
		return nil, fault.New(fault.Invalid, op, "the two passwords differ")
	}
	return password, nil
}

func prompt(text string) ([]byte, error) {
	fmt.Fprint(os.Stderr, text)
	password, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return nil, fault.As(fault.Invalid, "read password", err)
	}
	if len(password) == 0 {
		return nil, fault.New(fault.Invalid, "read password", "the password is empty")
	}
	return password, nil
}

func firstLine(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordFile)).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return nil, fault.As(fault.Invalid, "read password", err)
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 {
		return nil, fault.New(fault.Invalid, "read password", "the first line is empty")
	}
	return line, nil
}
