package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the size of a configuration file.
const maxFile = 1 << 20

// A Flag is a value that was given on the command line.
type Flag struct{ Name, Value string }

// A Source says what to read.
type Source struct {
	File   string // empty means none
	Lookup func(name string) (string, bool)
	Flags  map[string]Flag // by key

	// CheckStore and CheckTransport refuse a DSN that cannot be opened, whatever
	// is behind it. Their errors must not repeat the DSN. Nil accepts all.
	CheckStore, CheckTransport func(DSN) error
	// CheckListen refuses an address for metrics or the API; nil accepts all.
	CheckListen func(address string, withToken bool) error
	// CheckToken refuses a token of those; its error must not repeat it. Nil accepts all.
	CheckToken func(token string) error
}

// Load reads the configuration. Its error is an *Error.
func Load(src Source) (*Config, error) {
	if src.File == "" {
		return Parse(src, nil)
	}
	text, err := readFile(src.File)
	if err != nil {
		try := "check the file's name, or write a configuration with `init`"
		return nil, &Error{Problems: []Problem{{
			Code: CodeFile, Title: "cannot read the configuration", What: err.Error(), Where: src.File, Try: try,
		}}}
	}
	return Parse(src, text)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		return nil, fmt.Errorf("the file is larger than %s", Bytes(maxFile))
	}
	return text, err
}

// Parse is Load with the file's text in hand; src.File is its name.
func Parse(src Source, text []byte) (*Config, error) {
	d := &decoder{
		src: src, schema: schema{fields: Reference()}, byKey: map[string]*Setting{},
		names: map[string][]string{}, keyAt: map[string]position{},
		problems: problems{file: src.File, lines: strings.Split(string(text), "\n")},
	}
	root := d.parse(text)
	if len(d.found) > 0 {
		return nil, d.err()
	}
	d.walk(place{}, root)
	cfg := d.assemble()
	d.check(cfg)
	if err := d.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// parse returns the root mapping, or nil for a file without content.
func (d *decoder) parse(text []byte) *yaml.Node {
	if !utf8.Valid(text) {
		d.at(d.pos(0, 0), Problem{Code: CodeSyntax, Title: "the configuration is not text",
			What: "the file is not valid UTF-8", Try: "save it as UTF-8"})
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		d.syntax(err)
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			d.syntax(err)
			return nil
		}
		d.at(d.pos(more.Line, more.Column), Problem{Code: CodeSyntax, Title: "more than one YAML document",
			What: "the file has a second document", Try: "remove the line --- and what follows it"})
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return resolve(doc.Content[0])
}

// syntax reports what the YAML parser says; its only hint at the place is in
// its text.
func (d *decoder) syntax(err error) {
	what, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if rest, ok := strings.CutPrefix(what, "line "); ok {
		number, tail, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, what = n, tail
		}
	}
	d.at(d.pos(line, 0), Problem{Code: CodeSyntax, Title: "the configuration is not valid YAML", What: what,
		Try: "check the indentation and the quotes of this line and the one before it"})
}

// pos is a place in the file.
func (d *decoder) pos(line, column int) position {
	return position{file: d.src.File, line: line, column: column}
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}
