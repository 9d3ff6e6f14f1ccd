package harness

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/klauspost/compress/zstd"
)

// ErrNoCorpus says that the corpus of real mail is not beside the repository.
var ErrNoCorpus = errors.New("the corpus ../shared/corpus, beside the repository, is missing")

// Root returns the root of the repository, seen from a folder below it.
func Root() string {
	dir := "."
	for range 10 {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "imapped")); err == nil {
			return dir
		}
		dir = filepath.Join("..", dir)
	}
	return "."
}

// Corpus returns the messages of the corpus, in a fixed order, with CRLF.
func Corpus() ([][]byte, error) {
	f, err := os.Open(filepath.Join(Root(), "..", "shared", "corpus", "spamassassin.tar.zst"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoCorpus
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	byName := map[string][]byte{}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		raw, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		byName[h.Name] = CRLF(raw)
	}
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	sort.Strings(names)
	all := make([][]byte, len(names))
	for i, n := range names {
		all[i] = byName[n]
	}
	return all, nil
}

// CRLF returns text with CRLF line ends, whichever it has.
func CRLF(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}

// Dress gives raw messages UIDs with gaps, flags, keywords and dates, all from the seed.
func Dress(raw [][]byte, seed uint64) []Message {
	rng := rand.New(rand.NewPCG(seed, 1))
	flags := []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}
	keywords := []string{"$Forwarded", "$Junk", "NonJunk", "Projekt-X"}
	all := make([]Message, len(raw))
	uid := uint32(rng.IntN(50))
	// Two servers cannot agree on dates before 1970; the corpus's mail is of these years anyway.
	date := time.Date(2002, 1, 31, 23, 0, 0, 0, time.UTC)
	for i, r := range raw {
		uid += 1 + uint32(rng.IntN(3))
		date = date.Add(time.Duration(rng.IntN(8*3600)) * time.Second)
		m := Message{Raw: r, UID: uid, Date: date}
		for j, f := range flags {
			if rng.IntN(2+3*j) == 0 {
				m.Flags = append(m.Flags, f)
			}
		}
		for _, k := range keywords {
			if rng.IntN(8) == 0 {
				m.Keywords = append(m.Keywords, k)
			}
		}
		all[i] = m
	}
	return all
}

// Account spreads mail over mailboxes: many and few, nested, not ASCII, empty, and names that differ in case only.
func Account(raw [][]byte, seed uint64) []Box {
	shares := []struct {
		name  string
		share int // of 100
	}{
		{"INBOX", 40}, {"Archive", 15}, {"Archive/2002", 8}, {"Archive/2002/Q3", 3}, {"Work", 8}, {"work", 2},
		{"Entwürfe/Älteres & Neues", 2}, {"Listen/日本語", 2}, {"Lists/go-nuts", 8}, {"Sent", 4}, {"Drafts", 1}, {"Junk", 5},
		{"Trash", 1}, {"Empty", 0}, {"With space", 1}, {`Quote"and\`, 0}, {"Lists/empty", 0}, {"Zuletzt", 0}, {"A", 0}, {"B", 0},
	}
	var boxes []Box
	rest := raw
	for i, s := range shares {
		n := min(len(raw)*s.share/100, len(rest))
		boxes = append(boxes, Box{
			Name: s.name, UIDValidity: uint32(1_000_000 + i), Messages: Dress(rest[:n], seed+uint64(i)),
		})
		rest = rest[n:]
	}
	// What rounding left over goes to the end of the first.
	boxes[0].Messages = Dress(append(append([][]byte{}, raw[:len(boxes[0].Messages)]...), rest...), seed)
	return boxes
}

// Count returns the number of messages and their bytes.
func Count(boxes []Box) (messages int, size int64) {
	for _, b := range boxes {
		messages += len(b.Messages)
		for _, m := range b.Messages {
			size += int64(len(m.Raw))
		}
	}
	return messages, size
}

// Multiply returns n messages: the raw ones over and over, each copy made different by a header of its own.
func Multiply(raw [][]byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		r := raw[i%len(raw)]
		if i >= len(raw) {
			r = append(fmt.Appendf(nil, "X-Copy: %d\r\n", i), r...)
		}
		all[i] = r
	}
	return all
}
