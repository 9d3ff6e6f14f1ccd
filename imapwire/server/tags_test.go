package server

import (
	"bytes"
	"strconv"
	"strings"
)

// possibleTags adds the first word of everything in input that may be a command, with every reading of synchronizing
// literals: octets of a literal that does not wait are never a command. It returns false when there are too many ways
// to read the input.
func possibleTags(input []byte, tags map[string]bool, ways *int) bool {
	for len(input) > 0 {
		if *ways++; *ways > 200 {
			return false
		}
		word, _, _ := bytes.Cut(input, []byte(" "))
		word, _, _ = bytes.Cut(word, []byte("\n"))
		tags[strings.TrimSuffix(string(word), "\r")] = true
		line, _, _ := bytes.Cut(bytes.ToUpper(input), []byte("\n"))
		next, forked := skipFrame(input, tags, ways)
		if forked < 0 {
			return false
		}
		input = next
		if bytes.Contains(line, []byte("IDLE")) || bytes.Contains(line, []byte("AUTHENTICATE")) {
			// The next line may be no command: then nothing in it announces a literal.
			_, after, _ := bytes.Cut(input, []byte("\n"))
			if !possibleTags(after, tags, ways) {
				return false
			}
		}
	}
	return true
}

// skipFrame returns what follows the frame at the beginning of input. forked is -1 when there are too many ways.
func skipFrame(input []byte, tags map[string]bool, ways *int) (rest []byte, forked int) {
	for {
		line, after, found := bytes.Cut(input, []byte("\n"))
		if !found {
			return nil, 0
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		open := bytes.LastIndexByte(line, '{')
		if open < 0 || !bytes.HasSuffix(line, []byte("}")) {
			return after, 0
		}
		digits, nonSync := strings.CutSuffix(string(line[open+1:len(line)-1]), "+")
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			return after, 0
		}
		literal := after[min(n, uint64(len(after))):]
		if !nonSync { // a synchronizing one: the server may have asked for it, or not
			if !possibleTags(after, tags, ways) {
				return nil, -1
			}
		}
		input = literal
	}
}
