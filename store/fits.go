package store

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// exact reports whether the database judges all of the filter. It cannot where the
// meaning of bytes is asked for: each database reads JSON in a way of its own, and some
// fail on bytes that are none.
func (f LetterFilter) exact() bool {
	for _, t := range f.Terms {
		if t.read() {
			return false
		}
	}
	return true
}

// read reports whether the term is judged by reading JSON.
func (t Term) read() bool { return t.Field == FieldHeader || t.Field == FieldPayload && t.Path != "" }

// fits judges what the database has not.
func (f LetterFilter) fits(l Letter) bool {
	for _, t := range f.Terms {
		if t.read() && t.chooses(l) == t.Not {
			return false
		}
	}
	return true
}

// chooses reports whether one of the values that stand where the term asks is one that
// it wants.
func (t Term) chooses(l Letter) bool {
	if t.Field == FieldHeader {
		v, there := l.Header[t.Path]
		return there && t.wants(v)
	}
	dec := json.NewDecoder(bytes.NewReader(l.Body))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return false
	}
	if _, err := dec.Token(); err != io.EOF {
		return false // more than one value is no JSON
	}
	return t.descend(doc, strings.Split(t.Path, "."))
}

// descend goes into a document by keys and indexes. A list is gone through where the
// path has no index.
func (t Term) descend(doc any, path []string) bool {
	if list, ok := doc.([]any); ok {
		if len(path) > 0 {
			if i, err := strconv.Atoi(path[0]); err == nil {
				return i >= 0 && i < len(list) && t.descend(list[i], path[1:])
			}
		}
		for _, v := range list {
			if t.descend(v, path) {
				return true
			}
		}
		return false
	}
	if len(path) == 0 {
		return t.scalar(doc)
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return false
	}
	v, there := object[path[0]]
	return there && t.descend(v, path[1:])
}

// scalar judges one value. It is wanted as it is written in JSON, a text without quotes.
func (t Term) scalar(v any) bool {
	switch v := v.(type) {
	case string:
		return !t.ordered() && t.wants(v)
	case json.Number:
		return t.wants(v.String())
	case bool:
		return !t.ordered() && t.wants(strconv.FormatBool(v))
	case nil:
		return !t.ordered() && t.wants("null")
	}
	return false
}

// wants compares a text with the term's values.
func (t Term) wants(have string) bool {
	for _, v := range t.Values {
		if t.compare(have, v) {
			return true
		}
	}
	return false
}

func (t Term) compare(have, v string) bool {
	switch t.Op {
	case OpIs:
		return have == v
	case OpStarts:
		return strings.HasPrefix(have, v)
	case OpHas:
		return strings.Contains(have, v)
	}
	a, err := strconv.ParseFloat(have, 64)
	if err != nil {
		return false
	}
	b, _ := strconv.ParseFloat(v, 64) // checked
	switch t.Op {
	case OpLess:
		return a < b
	case OpMost:
		return a <= b
	case OpMore:
		return a > b
	}
	return a >= b
}
