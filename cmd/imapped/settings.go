package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// refused holds the settings that nothing uses yet, with what is said to whoever sets them. A row goes when the part of
// the program comes that its setting is for.
func refused() map[string]string {
	return map[string]string{
		"SEARCH_INDEX_PATH": "this version has no search index: take it away",
	}
}

// settingTag is the tag of a flag that is one more way to give a setting; its value is the setting's key.
const settingTag = "setting"

// settingSources returns where the settings of a command line come from.
func settingSources(k *kong.Context, environ []string) config.Sources {
	src := config.Sources{Flags: map[string]config.Flag{}, Environ: environ, ReadFile: readFile, Refused: refused()}
	for _, p := range k.Path {
		if p.Flag == nil {
			continue
		}
		key := p.Flag.Tag.Get(settingTag)
		if key == "" {
			continue
		}
		text := fmt.Sprint(k.FlagValue(p.Flag))
		if d, ok := k.FlagValue(p.Flag).(time.Duration); ok && strings.HasSuffix(key, "_SECONDS") {
			text = strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
		}
		src.Flags[key] = config.Flag{Name: "--" + p.Flag.Name, Text: text}
	}
	return src
}

// explainSettings adds to the help of each flag that is a setting what else it is called, and its default.
func explainSettings(n *kong.Node) {
	defaults := map[string]config.Value{}
	for _, v := range config.Default().Values() {
		defaults[v.Key] = v
	}
	explain(n, defaults)
}

func explain(n *kong.Node, defaults map[string]config.Value) {
	for _, f := range n.Flags {
		v, ok := defaults[f.Tag.Get(settingTag)]
		if !ok {
			continue
		}
		also := "$" + v.Key
		if v.Text != "" {
			also = "default " + v.Text + ", " + also
		}
		f.Help = strings.TrimSuffix(f.Help, ".") + " (" + also + ")."
	}
	for _, child := range n.Children {
		explain(child, defaults)
	}
}

// maxConfigFile bounds every file that settings are read from.
const maxConfigFile = 1 << 20

// readFile returns what a file holds that a setting names.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxConfigFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxConfigFile)
	}
	return b, nil
}

type configCmd struct {
	Show  showConfigCmd  `cmd:"" help:"Show every setting and where its value came from; secrets as fingerprints."`
	Check checkConfigCmd `cmd:"" help:"Say all that is wrong with the configuration; the exit status is 2 when something is."`
}

// shownConfig is what config show and config check say, as JSON.
type shownConfig struct {
	File     string           `json:"config_file,omitempty"`
	Settings []config.Value   `json:"settings,omitempty"`
	Troubles []config.Trouble `json:"troubles"`
}

type showConfigCmd struct {
	serverFlags
	listFlags
}

// Run shows the settings, also those of a configuration that is not in order.
func (c showConfigCmd) Run(src config.Sources, out output) error {
	conf, err := config.Load(src)
	shown := shownConfig{File: conf.File(), Settings: conf.Values(), Troubles: troublesOf(err)}
	var text [][]string
	for _, v := range shown.Settings {
		value := printable(v.Text)
		if !v.Valid {
			value = "(wrong)"
		}
		text = append(text, []string{v.Key, value, v.From()})
	}
	return errors.Join(c.table(out, shown, []string{"SETTING", "VALUE", "SOURCE"}, text), err)
}

type checkConfigCmd struct {
	serverFlags
	listFlags
}

// Run checks the settings and the files that they name.
func (c checkConfigCmd) Run(src config.Sources, out output) error {
	conf, err := config.Load(src)
	found := append(troublesOf(err), troublesOf(conf.Stores())...)
	if conf.IMAPTLSCertPath != "" && conf.IMAPTLSKeyPath != "" {
		if _, err := conf.TLS(readFile); err != nil {
			found = append(found, config.Trouble{Text: err.Error()})
		}
	}
	if c.JSON {
		err = printJSON(out, shownConfig{File: conf.File(), Troubles: found})
	} else {
		err = say(out, "%s", c.text(found))
	}
	if err == nil && len(found) > 0 {
		err = fault.Newf(fault.Invalid, "check the configuration", "%d troubles", len(found))
	}
	return err
}

// text returns a line for each trouble.
func (checkConfigCmd) text(found []config.Trouble) string {
	if len(found) == 0 {
		return "The configuration is in order.\n"
	}
	var all strings.Builder
	for _, t := range found {
		all.WriteString(t.String() + "\n")
	}
	return all.String()
}

// troublesOf returns what an error of Load lists; never nil.
func troublesOf(err error) []config.Trouble {
	if e, ok := errors.AsType[*config.Error](err); ok {
		return e.Troubles
	}
	return []config.Trouble{}
}
