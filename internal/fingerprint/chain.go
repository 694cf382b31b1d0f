package fingerprint

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// maxChain bounds how many errors of a tree are looked at.
const maxChain = 32

// ours are the packages whose errors say how an attempt ended, which the class
// says, too.
const ours = "github.com/posthorn/posthorn"

// Chain lists the types of an error and of those that it wraps, from the outside
// in, and each tree of a join after the one before it. Types that only add words
// are left out: those of fmt.Errorf, errors.New and errors.Join, and Posthorn's own.
func Chain(err error) []string {
	var out []string
	left := maxChain
	walk(err, &left, func(e error) {
		if name := typeName(e); name != "" {
			out = append(out, name)
		}
	})
	return out
}

// walk visits an error and what it wraps, as errors.As does.
func walk(err error, left *int, visit func(error)) {
	for err != nil && *left > 0 {
		*left--
		visit(err)
		switch e := err.(type) { //nolint:errorlint // it takes the tree apart
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, branch := range e.Unwrap() {
				walk(branch, left, visit)
			}
			return
		default:
			return
		}
	}
}

// typeName is the type of an error, or nothing if it is one that says nothing.
func typeName(err error) string {
	name := fmt.Sprintf("%T", err)
	switch name {
	case "*fmt.wrapError", "*fmt.wrapErrors", "*errors.errorString", "*errors.joinError":
		return ""
	}
	if own(err) {
		return ""
	}
	return name
}

// An asked is an error that says by itself which fault it stands for.
type asked interface{ Fingerprint() string }

// Own is what an error says of its fault by a method Fingerprint() string, or
// nothing.
func Own(err error) string {
	var a asked
	if errors.As(err, &a) {
		return a.Fingerprint()
	}
	return ""
}

// own reports whether an error's type is declared by Posthorn.
func own(err error) bool {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == ours || strings.HasPrefix(t.PkgPath(), ours+"/") &&
		!strings.HasPrefix(t.PkgPath(), ours+"/examples/")
}
