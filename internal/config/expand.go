package config

import (
	"fmt"
	"strings"
)

// Expand replaces ${NAME} and ${NAME:-default} by environment variables; a
// variable that is empty counts as unset for the default. $$ is a dollar sign.
// It returns the names that it used.
func Expand(s string, lookup func(string) (string, bool)) (out string, names []string, err error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String(), names, nil
		}
		b.WriteString(s[:i])
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			s = s[i+2:]
		case '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", names, fmt.Errorf("%q has no closing brace", s[i:])
			}
			value, name, err := variable(s[i+2:i+end], lookup)
			if err != nil {
				return "", append(names, name), err
			}
			b.WriteString(value)
			names, s = append(names, name), s[i+end+1:]
		default:
			b.WriteByte('$')
			s = s[i+1:]
		}
	}
}

// variable evaluates what stands between the braces.
func variable(expr string, lookup func(string) (string, bool)) (value, name string, err error) {
	name, def, hasDefault := strings.Cut(expr, ":-")
	if !plainName(name) || strings.Contains(name, "-") {
		return "", name, fmt.Errorf("${%s} does not name a variable", name)
	}
	value, set := lookup(name)
	switch {
	case value != "" || set && !hasDefault:
		return value, name, nil
	case hasDefault:
		return def, name, nil
	default:
		return "", name, fmt.Errorf("the environment variable %s is not set", name)
	}
}
