package posthorn

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// secretTag is the key of the tag by which a field is marked, and secretMark all that it
// may say.
const (
	secretTag  = "posthorn"
	secretMark = "secret"
)

// Secrets are the places in the JSON of a message that its type marks as secret, seen from
// one place: first from the whole message. A field is marked by a tag:
//
//	type Payment struct {
//		Card string `json:"card" posthorn:"secret"`
//	}
//
// Whoever shows messages to people hides what is there, whatever it is: a text, a list, an
// object. Marks are found through embedded and nested structs, pointers, lists and maps, and
// through types that contain themselves. Names are those of package encoding/json, whatever
// their case, since it reads them so. What a type has only behind an interface, or decodes
// by a method of its own from other names, is not found: mark the field that holds it. The
// zero value has none.
type Secrets struct {
	marked bool
	shapes []*shape // of the place's value: one, but where names of fields are alike
}

// Marked reports whether all that is at this place is secret.
func (s Secrets) Marked() bool { return s.marked }

// In is the place of a member of an object, or of an element of a list, whose name is its
// index. It costs a look at each field of the object.
func (s Secrets) In(name string) (in Secrets) {
	for _, sh := range s.shapes {
		if sh.each != nil {
			in.shapes = append(in.shapes, sh.each)
		}
		for _, f := range sh.fields {
			if strings.EqualFold(f.name, name) {
				in.marked, in.shapes = in.marked || f.secret, append(in.shapes, f.shape)
			}
		}
	}
	return in
}

// Secrets is what the type of its messages marks.
func (h *Handler) Secrets() Secrets { return h.secrets }

// Secrets is what the types of some kinds mark, or those of all handlers if none is named.
// A kind that has no handler marks nothing that is known here.
func (m *Mux) Secrets(kinds ...string) (all Secrets) {
	if len(kinds) == 0 {
		kinds = m.Kinds()
	}
	for _, kind := range kinds {
		if h, ok := m.handlers[kind]; ok {
			all.shapes = append(all.shapes, h.secrets.shapes...)
		}
	}
	return all
}

// A shape is what a type looks like as JSON. A type that contains itself makes a circle.
type shape struct {
	fields []shapeField // of a struct
	each   *shape       // of each element of a list or a map; nil: it is neither
}

// A shapeField is a field of a struct under the name that it has in JSON.
type shapeField struct {
	name   string
	secret bool
	shape  *shape
}

// A survey finds the shapes of types.
type survey map[reflect.Type]*shape

// secretsOf finds what a type of messages marks. The error names a tag that means nothing.
func secretsOf(t reflect.Type) (Secrets, error) {
	sh, err := survey{}.shape(t)
	return Secrets{shapes: []*shape{sh}}, err
}

func (v survey) shape(t reflect.Type) (sh *shape, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if sh := v[t]; sh != nil {
		return sh, nil
	}
	sh = &shape{}
	v[t] = sh
	switch t.Kind() {
	case reflect.Struct:
		err = v.fields(sh, t, false, t)
	case reflect.Slice, reflect.Array, reflect.Map:
		sh.each, err = v.shape(t.Elem())
	}
	return sh, err
}

// fields adds the fields of a struct, and those of structs that are embedded in it: JSON
// has them side by side. Where several have one name, JSON has some of them at most; here
// they are all there, so that rather too much is hidden. within are the structs around it.
func (v survey) fields(sh *shape, t reflect.Type, secret bool, within ...reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, skip := jsonName(f)
		mark, tagged := f.Tag.Lookup(secretTag)
		if tagged && mark != secretMark {
			return fmt.Errorf(`field %s of %s: the tag posthorn:%q means nothing; write posthorn:"secret"`, f.Name, t, mark)
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		var err error
		switch {
		case skip:
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			if !slices.Contains(within, inner) {
				err = v.fields(sh, inner, secret || tagged, append(slices.Clip(within), inner)...)
			}
		case f.IsExported() || f.Anonymous && inner.Kind() == reflect.Struct: // the latter with a name of its own
			field := shapeField{name: name, secret: secret || tagged}
			if name == "" {
				field.name = f.Name
			}
			field.shape, err = v.shape(f.Type)
			sh.fields = append(sh.fields, field)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// jsonName is the name that a field's tag gives it; empty: none that encoding/json takes.
// skip: JSON does not have it.
func jsonName(f reflect.StructField) (name string, skip bool) {
	tag := f.Tag.Get("json")
	name, _, _ = strings.Cut(tag, ",")
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
	}
	if strings.ContainsFunc(name, odd) {
		name = ""
	}
	return name, tag == "-"
}
