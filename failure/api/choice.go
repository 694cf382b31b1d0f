package api

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// Bounds of pages.
const (
	pageLetters = 100 // if nothing is said
	maxPage     = 1000
	pageWithin  = 50 * time.Millisecond // one page looks, where no index leads to what is wanted
	restWithin  = 25 * time.Millisecond // one counts what follows
)

// A choice chooses letters. It is a filter as people write it.
type choice struct {
	All       bool      `json:"all"` // all letters, if nothing else is said
	IDs       []string  `json:"ids"`
	Queue     string    `json:"queue"`
	Kind      string    `json:"kind"`
	Reason    string    `json:"reason"`
	Class     string    `json:"class"`
	Group     string    `json:"group"` // the beginning of a fingerprint
	After     time.Time `json:"after"`
	Before    time.Time `json:"before"`
	Query     string    `json:"query"`
	Discarded bool      `json:"discarded"`
	Limit     int       `json:"limit"`
}

// choiceOf reads a choice from the parameters of an address.
func choiceOf(q url.Values) (c choice, err error) {
	c = choice{
		Queue: q.Get("queue"), Kind: q.Get("kind"), Reason: q.Get("reason"), Class: q.Get("class"),
		Group: q.Get("group"), Query: q.Get("query"),
	}
	if c.After, err = timeOf(q, "after"); err != nil {
		return c, err
	}
	if c.Before, err = timeOf(q, "before"); err != nil {
		return c, err
	}
	if c.Limit, err = numberOf[int](q, "limit"); err != nil {
		return c, err
	}
	c.Discarded, err = boolOf(q, "discarded")
	return c, err
}

// narrows reports whether the choice says anything.
func (c choice) narrows() bool {
	return len(c.IDs) > 0 || c.Queue+c.Kind+c.Reason+c.Class+c.Group+c.Query != "" ||
		!c.After.IsZero() || !c.Before.IsZero()
}

// filter is the choice for the store.
func (c *call) filter(of choice) (f store.LetterFilter, err error) {
	if of.Limit < 0 {
		return f, usage("limit is below 0")
	}
	f = store.LetterFilter{
		IDs: of.IDs, Queue: of.Queue, Kind: of.Kind, Reason: of.Reason, Class: of.Class, After: of.After, Before: of.Before,
		Discarded: of.Discarded, Limit: of.Limit,
	}
	if f.Terms, err = failure.ParseQuery(of.Query, time.Now()); err != nil {
		return f, err
	}
	if of.Group != "" {
		g, err := failure.FindGroup(c.ctx, c.store, of.Group)
		if err != nil {
			return f, err
		}
		f.Group = g.Fingerprint
	}
	return f, nil
}

// words are the choice as people read it.
func (c choice) words() string {
	var out []string
	for _, w := range [][2]string{
		{"queue", c.Queue}, {"kind", c.Kind}, {"reason", c.Reason}, {"class", c.Class}, {"group", c.Group},
		{"after", stamp(c.After)}, {"before", stamp(c.Before)}, {"id", strings.Join(c.IDs, ",")},
	} {
		if w[1] != "" {
			out = append(out, w[0]+":"+w[1])
		}
	}
	if c.Query != "" {
		out = append(out, c.Query)
	}
	if c.Limit > 0 {
		out = append(out, "limit:"+strconv.Itoa(c.Limit))
	}
	return strings.Join(out, " ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func timeOf(q url.Values, name string) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usage(fmt.Sprintf("%s is %q; write a time like 2026-01-31T08:00:00Z", name, text))
	}
	return t, nil
}

func boolOf(q url.Values, name string) (bool, error) {
	switch text := q.Get(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, usage(fmt.Sprintf("%s is %q, and neither true nor false", name, text))
	}
}

func numberOf[T int | int64](q url.Values, name string) (T, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || int64(T(n)) != n {
		return 0, usage(fmt.Sprintf("%s is %q, which is no number of 0 or more", name, text))
	}
	return T(n), nil
}

// pageOf is the size of a page, and where it begins.
func pageOf(q url.Values) (limit int, past int64, err error) {
	if limit, err = numberOf[int](q, "limit"); err != nil {
		return 0, 0, err
	}
	if limit == 0 {
		limit = pageLetters
	}
	past, err = numberOf[int64](q, "past")
	return min(limit, maxPage), past, err
}
