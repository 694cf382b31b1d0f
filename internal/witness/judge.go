package witness

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/internal/tap"
)

// A Finding is a piece that should not have been seen.
type Finding struct {
	File string // of the evidence
	Line int
	What string
}

// String says where and what.
func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.What) }

// A Verdict is what a judge found.
type Verdict struct {
	Pieces   map[tap.Kind]int // how many lines of each kind were looked at
	Findings []Finding
}

// ErrNothing: there is no evidence of a kind.
var ErrNothing = errors.New("nothing was seen")

// Judge looks at all evidence in a directory. It fails where there is none of a kind: a
// run that shows nothing proves nothing.
func Judge(dir string) (Verdict, error) {
	v := Verdict{Pieces: map[tap.Kind]int{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return v, fmt.Errorf("judge: %w", err)
	}
	for _, f := range files {
		kind, _, _ := strings.Cut(f.Name(), "+")
		if err := v.read(tap.Kind(kind), filepath.Join(dir, f.Name())); err != nil {
			return v, fmt.Errorf("judge: %w", err)
		}
	}
	for _, k := range tap.Kinds() {
		if v.Pieces[k] == 0 {
			err = errors.Join(err, fmt.Errorf("%w: no %s", ErrNothing, k))
		}
	}
	return v, err
}

func (v *Verdict) read(kind tap.Kind, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			v.Pieces[kind]++
			for _, what := range look(kind, bytes.TrimSuffix(line, []byte("\n"))) {
				v.Findings = append(v.Findings, Finding{File: filepath.Base(path), Line: n, What: what})
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// look finds what is wrong with one line.
func look(kind tap.Kind, line []byte) (found []string) {
	texts := []string{string(line)}
	if kind == tap.Alert || kind == tap.Trace {
		texts = append(texts, stringsOf(line)...) // what a receiver sees
	}
	for _, text := range texts {
		for _, form := range forms() {
			if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
				found = append(found, fmt.Sprintf("a secret: %.300q", text))
			}
		}
		// A record is given to the program's own handler, and it is that one's to escape.
		if r, bad := obeyed(kind, text); bad && kind != tap.Record {
			found = append(found, fmt.Sprintf("character %U: %.300q", r, text))
		}
	}
	return found
}

// forms lists how the secret may be written: as it is, in hexadecimal digits, and in the
// three ways in which base64 writes it in the middle of something.
func forms() []string {
	out := []string{Secret, hex.EncodeToString([]byte(Secret))}
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + Secret))
		const edge = 4 // characters that depend on the neighbours
		out = append(out, text[edge:len(text)-edge])
	}
	return out
}

// obeyed finds a character that a terminal obeys, that turns text around or that nobody sees:
// all that package printable escapes. Texts may have tabs, pages of metrics have none.
func obeyed(kind tap.Kind, text string) (rune, bool) {
	for i, r := range text {
		switch {
		case r == '\t' && kind != tap.Metrics:
		case !printable.Safe(r):
			return r, true
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			return r, true // no UTF-8
		}
	}
	return 0, false
}

// stringsOf lists the texts in a JSON document, one line each; none if it is no document.
func stringsOf(line []byte) (out []string) {
	var v any
	if json.Unmarshal(line, &v) != nil {
		return nil
	}
	todo := []any{v}
	for len(todo) > 0 {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch t := last.(type) {
		case string:
			out = append(out, strings.Split(t, "\n")...)
		case []any:
			todo = append(todo, t...)
		case map[string]any:
			for name, value := range t {
				todo = append(todo, name, value)
			}
		}
	}
	slices.Sort(out)
	return out
}
