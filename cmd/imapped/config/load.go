package config

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Sources is where settings come from.
type Sources struct {
	// Flags holds what the command line says, by the setting's key. It beats all else.
	Flags map[string]Flag
	// Environ is the environment, "NAME=value" each.
	Environ []string
	// ReadFile returns what a file holds: the configuration file, and those that *_FILE name. It bounds what it reads.
	ReadFile func(path string) ([]byte, error)
	// Refused holds the keys of settings that nothing uses yet, with a text for whoever sets them.
	Refused map[string]string
}

// Flag is a setting's value on the command line.
type Flag struct {
	Name string // "--data"
	Text string
}

// Default returns the settings of a machine on which nothing is set.
func Default() *Config {
	c, _ := Load(Sources{}) // there is nothing that could be wrong
	return c
}

// Load returns the settings, checked. An error is fault.Invalid and an *Error, with all that is wrong; the Config is
// there also then, so that it can be shown, and must not be used for anything else.
func Load(src Sources) (*Config, error) {
	l := &loader{src: src, all: settings(), env: map[string]string{}, c: &Config{}, chosen: map[string]choice{}}
	for _, e := range src.Environ {
		if name, text, ok := strings.Cut(e, "="); ok {
			l.env[name] = text
		}
	}
	l.strangers()
	l.set(l.all[0]) // the path of the file; no other comes from it yet
	l.readFile()
	for _, s := range l.all[1:] {
		l.set(s)
	}
	l.c.derive(l.chosen)
	l.c.check(l.chosen, &l.ts)
	if l.c.Production {
		l.c.checkProduction(l.chosen, &l.ts)
	}
	for _, s := range l.all {
		if why := src.Refused[s.key]; why != "" && l.chosen[s.key].changed(s) {
			ch := l.chosen[s.key]
			l.ts.add(ch.name, "%s", why)
			ch.wrong = true
			l.chosen[s.key] = ch
		}
		l.c.values = append(l.c.values, l.value(s))
	}
	return l.c, l.ts.err()
}

// loader is one Load.
type loader struct {
	src    Sources
	all    []setting
	env    map[string]string
	file   map[string]any
	c      *Config
	chosen map[string]choice // by key
	ts     troubles
}

// choice is the text of a setting that won, and where it is from.
type choice struct {
	text  string
	layer Layer
	name  string
	wrong bool
}

// given says whether somebody gave the setting a value, if only a wrong one.
func (c choice) given() bool { return c.wrong || c.layer != FromDefault && c.text != "" }

// changed says whether the setting was given another value than its default.
func (c choice) changed(s setting) bool { return c.given() && c.text != s.def }

// set chooses the text of a setting and stores it in the Config.
func (l *loader) set(s setting) {
	ch, ok := l.choose(s)
	if !ok {
		ch.wrong = true
	} else if ch.text != "" || s.empty {
		if err := s.set(l.c, ch.text); err != nil {
			ch.wrong = true
			shown := "the value"
			if !s.secret && !betrays(ch.text) {
				shown = valueText(ch.text)
			}
			l.ts.add(ch.name, "%s %v", shown, err)
		}
	}
	l.chosen[s.key] = ch
}

// choose returns the text from the strongest layer that has one; false when a layer contradicts itself.
func (l *loader) choose(s setting) (choice, bool) {
	if f, ok := l.src.Flags[s.key]; ok {
		return choice{text: f.Text, layer: FromFlag, name: f.Name}, true
	}
	for _, layer := range []Layer{FromEnvironment, FromFile} {
		if layer == FromFile && s.nofile {
			continue
		}
		var found []choice
		ok := true
		for _, name := range s.names() {
			if layer == FromFile {
				name = lower(name)
			}
			text, there := l.env[name]
			if layer == FromFile {
				var sound bool
				text, there, sound = l.fromFile(s, name)
				ok = ok && sound
			}
			if !there || text == "" && !s.empty {
				continue
			}
			if strings.HasSuffix(strings.ToUpper(name), fileSuffix) {
				if text, there = l.secretFile(name, text); !there {
					ok = false
					continue
				}
			}
			found = append(found, choice{text: text, layer: layer, name: name})
		}
		for _, other := range found[min(1, len(found)):] {
			if other.text != found[0].text {
				l.ts.add(found[0].name, "it and %s are one setting, and differ: set one of them", other.name)
				ok = false
			}
		}
		switch {
		case len(found) > 0:
			return found[0], ok
		case !ok:
			return choice{layer: layer, name: s.key}, false
		}
	}
	return choice{text: s.def, layer: FromDefault, name: s.key}, true
}

// fromFile returns what the configuration file has under the name; sound is false when it is of the wrong type.
func (l *loader) fromFile(s setting, name string) (text string, there, sound bool) {
	v, there := l.file[name]
	if !there {
		return "", false, true
	}
	switch v := v.(type) {
	case string:
		if !s.bare {
			return v, true, true
		}
	case int64:
		if s.bare {
			return strconv.FormatInt(v, 10), true, true
		}
	case float64:
		if s.bare {
			return strconv.FormatFloat(v, 'f', -1, 64), true, true
		}
	case bool:
		if s.bare {
			return strconv.FormatBool(v), true, true
		}
	}
	want := "a string, in quotes"
	if s.bare {
		want = "a number, or true or false, without quotes"
	}
	l.ts.add(name, "it should be %s", want)
	return "", false, false
}

// maxSecret bounds what is taken from a secret's file.
const maxSecret = 64 << 10

// secretFile returns the text of a file without the line ends behind it.
func (l *loader) secretFile(name, path string) (string, bool) {
	b, err := l.read(path)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err // the path may be the secret itself, given under the wrong name
		}
		l.ts.add(name, "the file cannot be read: %v", err)
		return "", false
	}
	b = bytes.TrimRight(b, "\r\n")
	switch {
	case len(b) == 0:
		l.ts.add(name, "the file %s is empty", path)
	case len(b) > maxSecret:
		l.ts.add(name, "the file %s is larger than %d bytes", path, maxSecret)
	default:
		return string(b), true
	}
	return "", false
}

func (l *loader) read(path string) ([]byte, error) {
	if l.src.ReadFile == nil {
		return nil, errors.New("no file can be read")
	}
	return l.src.ReadFile(path)
}

// derive fills in the defaults that depend on other settings.
func (c *Config) derive(chosen map[string]choice) {
	follow := func(key, text string) {
		ch := chosen[key]
		ch.text = text
		chosen[key] = ch
	}
	if c.LogFormat == "" {
		c.LogFormat = "text"
		if c.Production {
			c.LogFormat = "json"
		}
		follow("LOG_FORMAT", c.LogFormat)
	}
	if c.ObjectStorePath == "" {
		c.ObjectStorePath = filepath.Join(c.Data, "blobs")
		follow("OBJECT_STORE_PATH", c.ObjectStorePath)
	}
	literal, message := chosen[literalKey], chosen[messageKey]
	if c.MaxMessageSize > c.MaxLiteralSize && !literal.wrong && !message.wrong {
		switch {
		case !message.given():
			c.MaxMessageSize = c.MaxLiteralSize
			follow(messageKey, strconv.FormatInt(c.MaxMessageSize, 10))
		case !literal.given():
			c.MaxLiteralSize = c.MaxMessageSize
			follow(literalKey, strconv.FormatInt(c.MaxLiteralSize, 10))
		}
	}
}

const (
	encryptKey = "S3_ENCRYPT"
	literalKey = "MAX_LITERAL_SIZE_BYTES"
	messageKey = "MAX_MESSAGE_SIZE_BYTES"
)

// value returns the setting for people.
func (l *loader) value(s setting) Value {
	ch := l.chosen[s.key]
	v := Value{Key: s.key, FileKey: s.fileKey(), Text: ch.text, Secret: s.secret, Source: ch.layer, Name: ch.name, Valid: !ch.wrong}
	switch {
	case ch.wrong:
		v.Text = ""
	case s.secret:
		v.Text = NewSecret(ch.text).String()
	case s.key == "LOG_LEVEL":
		v.Text = level(l.c.LogLevel)
	}
	if v.Source == FromDefault {
		v.Name = ""
	}
	return v
}
