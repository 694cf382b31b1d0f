package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/printable"
)

// The forms of output.
const (
	formTable  = "table"
	formWide   = "wide"
	formJSON   = "json"
	formYAML   = "yaml"
	formNDJSON = "ndjson"
	formName   = "name"
)

// documentVersion is the version of the JSON documents.
const documentVersion = 1

// A form is the value of --output.
type form struct{ value *string }

// forms lists what --output takes.
func forms() []string { return []string{formTable, formWide, formJSON, formYAML, formNDJSON, formName} }

// String is the current form.
func (f form) String() string {
	if f.value == nil {
		return ""
	}
	return *f.value
}

// Set takes a form; txt is Symfony's word for a table.
func (f form) Set(s string) error {
	if s == "txt" {
		s = formTable
	}
	if !slices.Contains(forms(), s) {
		return fmt.Errorf("it is none of %s", strings.Join(forms(), ", "))
	}
	*f.value = s
	return nil
}

// Type is shown in the help.
func (f form) Type() string { return "form" }

// outputFlag gives a command its --output.
func outputFlag(cmd *cobra.Command, value *string) {
	*value = formTable
	cmd.Flags().VarP(form{value}, "output", "o", "table, wide, json, yaml, ndjson or name")
	group(cmd, "Output", "output")
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return forms(), cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc("output", complete) // fails only for a flag that does not exist
}

// print writes data to stdout. Strings and errors among the arguments are made
// printable.
func (s *session) print(format string, args ...any) {
	_, _ = fmt.Fprintf(s.io.Stdout, format, safe(args)...) // a closed pipe ends the process by itself
}

// say writes talk to stderr, in the same way.
func (s *session) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.io.Stderr, format, safe(args)...)
}

func safe(args []any) []any {
	out := slices.Clone(args)
	for i, arg := range out {
		switch arg := arg.(type) {
		case string:
			out[i] = printable.Text(arg)
		case error:
			out[i] = printable.Text(arg.Error())
		case fmt.Stringer:
			out[i] = printable.Text(arg.String())
		}
	}
	return out
}

// A listing is a list of things to show in any form.
type listing[T any] struct {
	kind    string // of the JSON document
	columns []column[T]
	rows    []T
	name    func(T) string
	extra   map[string]any // more keys of the document
}

// A column is one column of a table.
type column[T any] struct {
	head   string
	cell   func(T) string
	brief  func(T) string // the cell on a terminal that is too narrow; nil: the same
	right  bool           // numbers align right
	wide   bool           // only in the wide form
	flex   bool           // shrinks when the terminal is narrow
	yields int            // where that is not enough, the column with the most is left out first; never with 0
	most   int            // a cell has at most so many columns, except in the wide form; 0: any number
}

// show writes a listing in a form.
func show[T any](s *session, as string, l listing[T]) error {
	switch as {
	case formName:
		for _, row := range l.rows {
			s.print("%s\n", l.name(row))
		}
		return nil
	case formNDJSON:
		for _, row := range l.rows {
			if err := s.document(as, row); err != nil {
				return err
			}
		}
		return nil
	case formJSON, formYAML:
		rows := l.rows
		if rows == nil {
			rows = []T{}
		}
		return s.document(as, document{Kind: l.kind, Version: documentVersion, Extra: l.extra, Items: rows})
	}
	writeTable(s, as == formWide, l)
	return nil
}

// A document is the envelope of JSON output.
type document struct {
	Kind    string         `json:"kind"`
	Version int            `json:"version"`
	Extra   map[string]any `json:"summary,omitempty"`
	Items   any            `json:"items"`
}

// document writes one value as JSON or YAML.
func (s *session) document(as string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if as == formJSON {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	text := printable.JSON(b.Bytes())
	if as == formYAML {
		var err error
		if text, err = asYAML(text); err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
	}
	_, err := s.io.Stdout.Write(printable.JSON(text))
	return err
}

// asYAML turns JSON, which is YAML, into YAML as people write it.
func asYAML(doc []byte) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil {
		return nil, err
	}
	restyle(&n)
	return yaml.Marshal(&n)
}

// restyle leaves quotes only where they are needed, and where the text has
// characters that will be written as escapes.
func restyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && printable.Text(n.Value) != n.Value {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		restyle(child)
	}
}

// meant words a suggestion, or lists what there is.
func meant(word string, known []string, otherwise string) string {
	if s := config.Suggest(word, known); s != "" {
		return fmt.Sprintf("did you mean `%s`?", s)
	}
	return otherwise
}
