package failure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A QueryError says what is wrong with a query, and where.
type QueryError struct {
	Query string
	At    int    // the byte at which it begins to be wrong
	What  string // what is wrong
	Try   string // what would be right; may be empty
}

// Error names the place by its character, from 1.
func (e *QueryError) Error() string {
	return fmt.Sprintf("query, character %d: %s", utf8.RuneCountInString(e.Query[:e.At])+1, e.What)
}

// Unwrap makes errors.Is(err, driver.ErrInvalid) true.
func (e *QueryError) Unwrap() error { return driver.ErrInvalid }

// MaxQuery bounds a query in bytes.
const MaxQuery = 4 << 10

// ParseQuery reads a query into terms that a letter has to fit, all of them. now is what
// ages are counted from: as terms they are times, so that a filter that is kept goes on
// choosing the same letters. Errors: *QueryError.
//
// A query is a row of terms with spaces between. A term is FIELD:VALUE, where VALUE may
// end with * for any end, and may be several, with commas between, one of which is
// enough; or FIELD and one of < <= > >= and a number, a time or, for age, a duration. A minus
// before a term means all other letters. A word without a field is looked for in the
// error. Quotes hold what has spaces, commas or stars; a backslash in them holds a quote.
// There is no OR, AND or NOT: without quotes, these words are refused.
// See [store.Term] for the fields; header and payload have their name or path after a dot.
func ParseQuery(text string, now time.Time) ([]store.Term, error) {
	p := &parser{text: text, now: now}
	if len(text) > MaxQuery {
		return nil, p.wrong(MaxQuery, fmt.Sprintf("it has more than %d bytes", MaxQuery), "")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || r == 0 }); i >= 0 {
		return nil, p.wrong(i, "here is a character that no text has", "")
	}
	var out []store.Term
	for p.skip(); p.at < len(text); p.skip() {
		began := p.at
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		if err := (store.LetterFilter{Terms: []store.Term{t}}).Check(); err != nil {
			what := strings.TrimPrefix(err.Error(), driver.ErrInvalid.Error()+": ")
			return nil, p.wrong(began, what, "")
		}
		if out = append(out, t); len(out) > maxQueryTerms {
			return nil, p.wrong(began, fmt.Sprintf("a query has at most %d terms", maxQueryTerms), "")
		}
	}
	return out, nil
}

const maxQueryTerms = 50

// A parser reads a query from left to right.
type parser struct {
	text string
	at   int
	now  time.Time
}

func (p *parser) wrong(at int, what, try string) *QueryError {
	return &QueryError{Query: p.text, At: min(at, len(p.text)), What: what, Try: try}
}

// skip goes on to the next term.
func (p *parser) skip() {
	for p.at < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.at:])
		if !unicode.IsSpace(r) {
			return
		}
		p.at += size
	}
}

// peek reports whether the text goes on with one of some characters.
func (p *parser) peek(chars string) bool {
	return p.at < len(p.text) && strings.IndexByte(chars, p.text[p.at]) >= 0
}

// term reads one term.
func (p *parser) term() (t store.Term, err error) {
	if p.peek("-") {
		p.at++
		t.Not = true
	}
	began := p.at
	if p.peek(`"`) {
		return p.words(t)
	}
	for p.at < len(p.text) && isFieldByte(p.text[p.at]) {
		p.at++
	}
	field := p.text[began:p.at]
	if field == "" || !p.peek(":<>") {
		if err := p.meantField(began, field); err != nil {
			return t, err
		}
		p.at = began
		return p.words(t)
	}
	t.Field, t.Path, _ = strings.Cut(strings.ToLower(field), ".")
	if t.Path != "" {
		t.Path = field[len(t.Field)+1:] // as it is written
	}
	if err := p.check(began, t); err != nil {
		return t, err
	}
	if p.peek("<>") {
		return p.compare(t)
	}
	p.at++
	return p.values(t)
}

// meantField refuses a word like kind=mail, payload. or OR: as it stands it would be looked
// for in the error, and be found nowhere.
func (p *parser) meantField(began int, field string) error {
	name, _, dotted := strings.Cut(strings.ToLower(field), ".")
	known := slices.Contains(fields(), name)
	switch {
	case known && dotted && strings.HasSuffix(field, ".") && p.ends():
		return p.wrong(p.at, "something is missing after the dot", field+`NAME:VALUE; "`+field+asText)
	case p.ends():
		return p.operator(began, field)
	case !known || !p.peek("="):
		return nil
	}
	value, _, _ := strings.Cut(p.text[p.at+1:], " ")
	is := field + ":" + value
	if name == fieldAge || name == store.FieldDied || name == store.FieldSent {
		is = name + "<" + value + " or " + name + ">" + value
	}
	return p.wrong(p.at, "no = follows a field", is+`; "`+p.text[began:p.at+1]+value+asText)
}

// asText ends the advice how to look for what looks like something else.
const asText = `" for a text that is in the error`

// operator refuses the operators that other languages have.
func (p *parser) operator(began int, word string) error {
	try, isOne := map[string]string{
		"OR":  "kind:a,b, which is either",
		"AND": "no word at all, since each letter has to fit all terms",
		"NOT": "-kind:a, which is all others",
	}[word]
	if !isOne {
		return nil
	}
	return p.wrong(began, "a query has no "+word, try+`; "`+word+asText)
}

// ends reports whether a word ends here.
func (p *parser) ends() bool {
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return p.at == len(p.text) || unicode.IsSpace(r)
}

// isFieldByte reports whether a field or a path may have the byte.
func isFieldByte(b byte) bool {
	return b == '_' || b == '.' || b == '-' || b == '@' || b == '$' || b == '/' || b >= utf8.RuneSelf ||
		'0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// fieldAge is the time since a letter died, a field of queries only.
const fieldAge = "age"

// fields are those that a query may name.
func fields() []string {
	return []string{
		fieldAge, store.FieldBuild, store.FieldClass, store.FieldCrashes, store.FieldDeliveries, store.FieldDied,
		store.FieldError, store.FieldGroup, store.FieldHeader, store.FieldID, store.FieldKind, store.FieldPayload,
		store.FieldPriority, store.FieldQueue, store.FieldReason, store.FieldSent, store.FieldType,
	}
}

// check refuses a field that letters do not have.
func (p *parser) check(began int, t store.Term) error {
	nested := t.Field == store.FieldHeader || t.Field == store.FieldPayload
	switch {
	case !slices.Contains(fields(), t.Field):
		return p.wrong(began, "letters have no field "+strconv.Quote(t.Field), "one of "+strings.Join(fields(), ", ")+
			"; quote a text that has a colon")
	case t.Path != "" && !nested:
		return p.wrong(began+len(t.Field), "only header and payload have something after a dot",
			t.Field+":VALUE")
	case t.Field == store.FieldPayload && p.text[p.at-1] == '.':
		return p.wrong(p.at, "the path into the payload is missing", "payload.PATH:VALUE, or payload:TEXT for all of it")
	case t.Field == store.FieldHeader && t.Path == "":
		return p.wrong(p.at, "the name of the header is missing", "header.NAME:VALUE")
	}
	return nil
}

// words reads a text without a field: it is looked for in the error.
func (p *parser) words(t store.Term) (store.Term, error) {
	t.Field, t.Op = store.FieldError, store.OpHas
	began := p.at
	v, _, err := p.value(" ")
	if err == nil && v == "" {
		err = p.wrong(began, "here should be a term", "FIELD:VALUE, or a text that is in the error")
	}
	t.Values = []string{v}
	return t, err
}

// values reads what follows a colon.
func (p *parser) values(t store.Term) (store.Term, error) {
	if t.Field == fieldAge || t.Field == store.FieldDied || t.Field == store.FieldSent {
		return t, p.wrong(p.at-1, t.Field+" is compared with < or >", "age>1h, died>2026-01-31")
	}
	t.Op = store.OpIs
	if t.Field == store.FieldError || t.Field == store.FieldPayload && t.Path == "" {
		t.Op = store.OpHas
	}
	for {
		began := p.at
		v, open, err := p.value(" ,")
		if err != nil {
			return t, err
		}
		if v == "" && !open && (p.at == began) {
			return t, p.wrong(began, "the value is missing", t.Field+":VALUE")
		}
		if open && t.Op == store.OpIs && len(t.Values) == 0 {
			t.Op = store.OpStarts
		} else if len(t.Values) > 0 && open != (t.Op == store.OpStarts) && t.Op != store.OpHas {
			return t, p.wrong(began, "either all values of a term end with a star or none", "two terms")
		}
		t.Values = append(t.Values, v)
		if !p.peek(",") {
			return t, nil
		}
		p.at++
	}
}

// compare reads an operator and what follows.
func (p *parser) compare(t store.Term) (store.Term, error) {
	began := p.at
	t.Op = map[byte]store.Op{'<': store.OpLess, '>': store.OpMore}[p.text[p.at]]
	p.at++
	if p.peek("=") {
		t.Op = map[store.Op]store.Op{store.OpLess: store.OpMost, store.OpMore: store.OpLeast}[t.Op]
		p.at++
	}
	at := p.at
	v, _, err := p.value(" ")
	if err == nil && v == "" {
		err = p.wrong(at, "the value is missing", t.Field+p.text[began:at]+"VALUE")
	}
	if err != nil {
		return t, err
	}
	if t.Field == fieldAge { // the older, the earlier it died
		t.Field = store.FieldDied
		t.Op = map[store.Op]store.Op{
			store.OpLess: store.OpMore, store.OpMost: store.OpLeast, store.OpMore: store.OpLess, store.OpLeast: store.OpMost,
		}[t.Op]
		age, err := duration(v)
		if err != nil {
			return t, p.wrong(at, err.Error(), "age>90m, age<2d")
		}
		t.Values = []string{millis(p.now.Add(-age))}
		return t, nil
	}
	if t.Field == store.FieldDied || t.Field == store.FieldSent {
		when, err := clock(v)
		if err != nil {
			return t, p.wrong(at, err.Error(), t.Field+`>2026-01-31, `+t.Field+`<"2026-01-31 08:00"`)
		}
		v = millis(when)
	}
	t.Values = []string{v}
	return t, nil
}

// clock reads a time, which is local unless it has a zone.
func clock(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", s)
}

// duration reads a duration, in days as well.
func duration(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(strings.TrimSuffix(s, "d"), 10, 16); err == nil && strings.HasSuffix(s, "d") {
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	return d, nil
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// value reads a value up to one of some characters. open says that it ends with a star.
func (p *parser) value(end string) (v string, open bool, err error) {
	if p.peek(`"`) {
		v, err = p.quoted()
		if err == nil && p.peek("*") {
			p.at++
			open = true
		}
		return v, open, err
	}
	began := p.at
	for p.at < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.at:])
		if unicode.IsSpace(r) || strings.ContainsRune(end, r) {
			break
		}
		if r == '"' {
			return "", false, p.wrong(p.at, "a quote stands within a value", "quotes around the whole value")
		}
		p.at += size
	}
	v = p.text[began:p.at]
	v, open = strings.CutSuffix(v, "*")
	return v, open, nil
}

// quoted reads a value in quotes.
func (p *parser) quoted() (string, error) {
	began := p.at
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return b.String(), nil
		case c == '\\' && p.at+1 < len(p.text) && strings.IndexByte(`"\`, p.text[p.at+1]) >= 0:
			p.at++
			b.WriteByte(p.text[p.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.wrong(began, "this quote has no end", `a quote at the end of the text; \" is one within it`)
}
