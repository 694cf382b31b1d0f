package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A decoder turns YAML nodes into settings, by the schema.
type decoder struct {
	problems
	src      Source
	schema   schema
	settings []*Setting
	byKey    map[string]*Setting
	names    map[string][]string // the chosen names below a key, in order
	keyAt    map[string]position // where a key stands in the file
}

// A place is a key with the pattern that it matches.
type place struct{ key, pattern string }

// child is the place of a name below p; pattern is the name or a star.
func (p place) child(name, pattern string) place {
	if p.key == "" {
		return place{name, pattern}
	}
	return place{p.key + "." + name, p.pattern + "." + pattern}
}

// walk visits every setting at and below p; n is nil when the file says
// nothing there.
func (d *decoder) walk(p place, n *yaml.Node) {
	if f, ok := d.schema.field(p.pattern); ok {
		d.leaf(p.key, f, n)
		return
	}
	children := d.schema.children(p.pattern)
	values, order := d.mapping(p, n)
	if slices.Contains(children, "*") {
		d.chosen(p, values, order)
		return
	}
	for _, name := range children {
		d.walk(p.child(name, name), values[name])
		delete(values, name)
	}
	for _, name := range order {
		if values[name] != nil {
			d.unknown(p, name, children)
		}
	}
}

// chosen visits the entries under names of the user's choice.
func (d *decoder) chosen(p place, values map[string]*yaml.Node, order []string) {
	if len(order) == 0 {
		switch p.key {
		case "transports":
			order = []string{DefaultTransport}
		case "programs":
			order = []string{DefaultProgram}
		}
	}
	d.names[p.key] = order
	for _, name := range order {
		d.walk(p.child(name, "*"), values[name])
	}
}

// mapping splits a mapping into its values, in order.
func (d *decoder) mapping(p place, n *yaml.Node) (values map[string]*yaml.Node, order []string) {
	values = map[string]*yaml.Node{}
	n = resolve(n)
	if n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return values, nil
	}
	if n.Kind != yaml.MappingNode {
		d.wrongType(p.key, n, "keys with values")
		return values, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "" || key.Tag == "!!merge":
			d.at(d.pos(key.Line, key.Column), Problem{Code: CodeType, Title: "not a usable key",
				What: "a key must be a plain word", Try: "write the key out"})
		case values[key.Value] != nil:
			d.at(d.pos(key.Line, key.Column), Problem{Code: CodeDuplicate,
				Title: fmt.Sprintf("key `%s` is there twice", key.Value),
				What:  fmt.Sprintf("%s was set before, in line %d", p.child(key.Value, "").key, values[key.Value].Line),
				Try:   "remove one of them"})
		default:
			values[key.Value] = value
			d.keyAt[p.child(key.Value, "").key] = d.pos(key.Line, key.Column)
			order = append(order, key.Value)
		}
	}
	return values, order
}

func (d *decoder) unknown(p place, name string, known []string) {
	what := fmt.Sprintf("there is no key `%s` at the top level", name)
	if p.key != "" {
		what = fmt.Sprintf("%s has no key `%s`", p.key, name)
	}
	try := "the keys here are " + strings.Join(known, ", ")
	if s := Suggest(name, known); s != "" {
		try = fmt.Sprintf("did you mean `%s`?", s)
	}
	d.at(d.keyAt[p.child(name, "").key], Problem{Code: CodeKey, Title: fmt.Sprintf("unknown configuration key `%s`", name),
		What: what, Try: try})
}

func (d *decoder) wrongType(key string, n *yaml.Node, want string) {
	has := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[n.Kind]
	if has == "" {
		has = "a single value"
	}
	if key == "" {
		key = "the file"
	}
	d.at(d.pos(n.Line, n.Column), Problem{Code: CodeType, Title: fmt.Sprintf("wrong type for `%s`", key),
		What: fmt.Sprintf("%s needs %s, but has %s", key, want, has),
		Try:  "see `config explain " + key + "`"})
}

// leaf records one setting: from a flag, else the environment, else the file,
// else its default.
func (d *decoder) leaf(key string, f Field, n *yaml.Node) {
	s := &Setting{Key: key, Field: f, Value: f.Default}
	d.settings = append(d.settings, s)
	d.byKey[key] = s
	flag, hasFlag := d.src.Flags[key]
	env, hasEnv := d.lookup(f.Variable())
	n = resolve(n)
	switch {
	case hasFlag:
		s.at = position{flag: flag.Name}
		d.value(s, flag.Value)
	case hasEnv:
		s.at = position{variable: f.Variable()}
		d.value(s, env)
	case n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		s.value, _ = f.parse(f.Default) // "none" and the like stay nil
	case f.Kind == KindNames || f.Kind == KindWords:
		d.list(s, n)
	case n.Kind != yaml.ScalarNode:
		d.wrongType(key, n, "a "+string(f.Kind))
	default:
		d.scalar(s, n)
	}
	s.Origin = s.at.String()
}

// lookup asks for a variable; an empty one counts as unset.
func (d *decoder) lookup(name string) (string, bool) {
	if name == "" || d.src.Lookup == nil {
		return "", false
	}
	v, ok := d.src.Lookup(name)
	return v, ok && v != ""
}

// scalar expands and reads one value of the file.
func (d *decoder) scalar(s *Setting, n *yaml.Node) {
	text, at, ok := d.expand(n)
	s.at = at
	if !ok {
		return
	}
	if n.Tag == "!!bool" && n.Style == 0 && s.Field.Kind != KindSwitch {
		d.at(at, Problem{Code: CodeType, Title: fmt.Sprintf("wrong type for `%s`", s.Key),
			What: fmt.Sprintf("%s needs a %s, but has a boolean", s.Key, s.Field.Kind), Try: "quote it if it is meant"})
		return
	}
	d.value(s, text)
}

func (d *decoder) expand(n *yaml.Node) (text string, at position, ok bool) {
	at = d.pos(n.Line, n.Column)
	lookup := d.src.Lookup
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	text, names, err := Expand(n.Value, lookup)
	if err != nil {
		d.at(at, Problem{Code: CodeVariable, Title: "cannot fill in a variable", What: err.Error(),
			Try: "set it, or give a default: ${NAME:-default}"})
		return "", at, false
	}
	for _, name := range names {
		if v, set := lookup(name); set && v != "" {
			at.variable = name
		}
	}
	return text, at, true
}

// list reads a list of names. One name may stand alone.
func (d *decoder) list(s *Setting, n *yaml.Node) {
	s.at = d.pos(n.Line, n.Column)
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	names := []string{}
	for _, item := range nodes {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode {
			d.wrongType(s.Key, item, "a "+string(s.Field.Kind))
			return
		}
		text, at, ok := d.expand(item)
		if !ok {
			return
		}
		names, s.items = append(names, text), append(s.items, at)
	}
	if len(names) == 0 {
		d.bad(s, s.at, fmt.Errorf("the list is empty"))
	}
	s.value, s.Value = names, strings.Join(names, ", ")
}

// value reads a setting from its text.
func (d *decoder) value(s *Setting, text string) {
	v, err := s.Field.parse(text)
	if err != nil {
		d.bad(s, s.at, err)
		return
	}
	s.value, s.Value = v, show(v)
}

// bad reports a value that makes no sense.
func (d *decoder) bad(s *Setting, at position, err error) {
	d.at(at, Problem{Code: CodeValue, Title: fmt.Sprintf("bad value for `%s`", s.Key),
		What: s.Key + ": " + err.Error(), Try: advice(s)})
}

// advice says what to write, and where it is said what that means.
func advice(s *Setting) string {
	what := "correct it"
	switch f := s.Field; {
	case len(f.Choices) > 0:
		what = "write one of " + strings.Join(f.Choices, ", ")
	case f.Kind != KindText && f.Kind != KindDSN && f.Kind != KindSecret:
		what = "write a " + string(f.Kind)
	}
	if f := s.Field; f.Default != "" && f.Kind != KindDSN {
		what += ", or leave it out for " + f.Default
	}
	return what + "; config explain " + s.Key + " says what it means"
}
