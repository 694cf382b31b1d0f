package alert

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/monitor"
)

// A Matcher picks conditions. Each field that is not empty must match; a star stands for any
// letters.
type Matcher struct {
	Rule    string `json:"rule,omitempty"`
	Subject string `json:"subject,omitempty"`
	Host    string `json:"host,omitempty"`
	Level   string `json:"level,omitempty"`
}

// ParseMatcher reads a rule's name, or pairs like rule=failed,subject=mail*,host=web1.
func ParseMatcher(text string) (Matcher, error) {
	var m Matcher
	fields := map[string]*string{"rule": &m.Rule, "subject": &m.Subject, "host": &m.Host, "level": &m.Level}
	for i, part := range strings.Split(text, ",") {
		name, value, pair := strings.Cut(part, "=")
		if !pair && i == 0 {
			name, value = "rule", part
		}
		field, known := fields[name]
		switch {
		case !known:
			return m, fmt.Errorf("%q is none of rule, subject, host and level", name)
		case value == "" || *field != "" || !pair && i > 0:
			return m, fmt.Errorf("%q needs one value", name)
		}
		*field = value
	}
	return m, nil
}

// String is the matcher as ParseMatcher reads it.
func (m Matcher) String() string {
	var parts []string
	for _, f := range []struct{ name, value string }{
		{"rule", m.Rule}, {"subject", m.Subject}, {"host", m.Host}, {"level", m.Level},
	} {
		if f.value != "" {
			parts = append(parts, f.name+"="+f.value)
		}
	}
	return strings.Join(parts, ",")
}

// Matches reports whether a condition is picked.
func (m Matcher) Matches(c monitor.Condition) bool {
	return glob(m.Rule, c.Name) && glob(m.Subject, c.Subject) && glob(m.Host, c.Host) && glob(m.Level, c.Level.String())
}

// glob compares a text with a pattern; an empty pattern takes all.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if pattern == "" || len(parts) == 1 {
		return pattern == "" || pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return ok && strings.HasSuffix(rest, parts[last])
}

// A Silence keeps alerts from being told until it ends. They are judged as ever.
type Silence struct {
	ID      string    `json:"id"`
	Match   Matcher   `json:"match"`
	Reason  string    `json:"reason"`
	Actor   string    `json:"actor"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until"`
}

// Bounds of silences.
const (
	maxSilences   = 100
	maxSilenceFor = 366 * 24 * time.Hour
	maxWords      = 300 // bytes, of a reason, an actor or a part of a matcher
)

// ErrSilence: a silence makes no sense.
var ErrSilence = errors.New("not a silence")

// check refuses what makes no sense.
func (s Silence) check() error {
	length := s.Until.Sub(s.Created)
	switch {
	case s.Match == Matcher{}:
		return fmt.Errorf("%w: it says nothing of what is to be silent", ErrSilence)
	case strings.TrimSpace(s.Reason) == "":
		return fmt.Errorf("%w: it needs a reason", ErrSilence)
	case length <= 0 || length > maxSilenceFor:
		return fmt.Errorf("%w: it lasts %s, and may last a year at most", ErrSilence, length)
	}
	for _, text := range []string{s.Reason, s.Actor, s.Match.Rule, s.Match.Subject, s.Match.Host, s.Match.Level} {
		if len(text) > maxWords || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("%w: a text has at most %d bytes of UTF-8", ErrSilence, maxWords)
		}
	}
	return nil
}

// Silence enters a silence, and gives it an id. The error is ErrSilence.
func (s State) Silence(n Silence) (State, Silence, error) {
	if err := n.check(); err != nil {
		return s, n, err
	}
	s.Silences = standing(s.Silences, n.Created)
	if len(s.Silences) >= maxSilences {
		return s, n, fmt.Errorf("%w: there are %d of them already", ErrSilence, maxSilences)
	}
	s.LastSilence++
	n.ID = fmt.Sprint("s", s.LastSilence)
	s.Silences = append(s.Silences, n)
	return s, n, nil
}

// Unsilence ends a silence by its id. ok is false when there is none.
func (s State) Unsilence(id string) (next State, ok bool) {
	left := slices.DeleteFunc(slices.Clone(s.Silences), func(n Silence) bool { return n.ID == id })
	ok = len(left) < len(s.Silences)
	s.Silences = left
	return s, ok
}

// Silenced is the silence that keeps a condition from being told and lasts longest.
func (s State) Silenced(c monitor.Condition, now time.Time) (by Silence, ok bool) {
	for _, n := range s.Silences {
		if n.Until.After(now) && n.Match.Matches(c) && n.Until.After(by.Until) {
			by, ok = n, true
		}
	}
	return by, ok
}

// standing drops silences that have ended.
func standing(all []Silence, now time.Time) []Silence {
	return slices.DeleteFunc(slices.Clone(all), func(n Silence) bool { return !n.Until.After(now) })
}
