package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A LetterFilter chooses letters. Zero fields choose all. As JSON it can be kept, and
// chooses by the same conditions later.
type LetterFilter struct {
	IDs       []string  `json:"ids,omitempty"`
	Queue     string    `json:"queue,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Class     string    `json:"class,omitempty"`
	Group     string    `json:"group,omitempty"`     // the fingerprint
	After     time.Time `json:"after,omitzero"`      // died at or after
	Before    time.Time `json:"before,omitzero"`     // died before
	Terms     []Term    `json:"terms,omitempty"`     // all of them
	Discarded bool      `json:"discarded,omitempty"` // the removed ones instead of the dead ones
	Past      int64     `json:"past,omitempty"`      // only letters with a greater Seq, for paging
	Until     int64     `json:"until,omitempty"`     // only letters up to this Seq; 0 means no bound
	Limit     int       `json:"limit,omitempty"`     // 0 means 100
	// Reach is how many letters are looked at for one page where no index leads to what
	// the filter wants; 0 means all.
	Reach int `json:"reach,omitempty"`
	// Within is how long one page, or one count, looks where no index leads to what the
	// filter wants; 0 means without a bound. Then it ends short, see LetterPage.Searched. It
	// chooses nothing, and is not kept.
	Within time.Duration `json:"-"`
	// Bare leaves the bodies in the store: Letter.Body is nil. Who shows letters in a list
	// wants none, and a thousand may be a gigabyte. It chooses nothing, and is not kept.
	Bare bool `json:"-"`

	bounded   bool      // Past and Until hold all that After and Before choose; see Store.bound
	either    bool      // dead and removed ones, where both are walked through; see Wide
	ends      time.Time // when Within is over
	unordered bool      // nobody asks for an order: a bound of sequences that holds for all is left out
}

// A Term is one condition more on letters.
type Term struct {
	Field  string   `json:"field"`          // one of the Field constants
	Path   string   `json:"path,omitempty"` // in a payload: keys and indexes with dots between; of a header: its name
	Op     Op       `json:"op"`
	Values []string `json:"values"`        // one of them is enough
	Not    bool     `json:"not,omitempty"` // what the term does not choose instead
}

// An Op compares a field with a value.
type Op string

// The operators. Times are milliseconds since 1970.
const (
	OpIs     Op = "is"     // equal, byte by byte
	OpStarts Op = "starts" // begins with, byte by byte
	OpHas    Op = "has"    // contains, byte by byte
	OpLess   Op = "lt"     // less; numbers and times only, as the next
	OpMost   Op = "le"
	OpMore   Op = "gt"
	OpLeast  Op = "ge"
)

// The fields of letters that a Term can ask for.
const (
	FieldID         = "id"
	FieldKind       = "kind"
	FieldQueue      = "queue"
	FieldReason     = "reason"
	FieldClass      = "class"
	FieldGroup      = "group"
	FieldType       = "type" // of the error
	FieldBuild      = "build"
	FieldError      = "error"
	FieldCrashes    = "crashes"
	FieldDeliveries = "deliveries"
	FieldPriority   = "priority"
	FieldDied       = "died"
	FieldSent       = "sent"
	FieldHeader     = "header"
	FieldPayload    = "payload" // the body; with a path, as JSON
)

// A fieldKind says which operators a field has.
type fieldKind int

const (
	wordField fieldKind = iota + 1
	textField
	numberField
	headerField
	payloadField
)

// fieldOf is the column of a field, and what can be asked of it.
func fieldOf(name string) (column string, kind fieldKind) {
	switch name {
	case FieldID, FieldKind, FieldQueue, FieldReason, FieldClass, FieldBuild:
		return name, wordField
	case FieldGroup:
		return "fingerprint", wordField
	case FieldType:
		return "error_type", wordField
	case FieldError:
		return name, textField
	case FieldCrashes, FieldDeliveries, FieldPriority:
		return name, numberField
	case FieldDied:
		return "died_at", numberField
	case FieldSent:
		return "sent_at", numberField
	case FieldHeader:
		return name, headerField
	case FieldPayload:
		return "body", payloadField
	}
	return "", 0
}

// maxTerms bounds the terms of a filter and the values of a term.
const maxTerms = 100

// Check reports what a filter asks for that cannot be answered, as
// driver.ErrInvalid.
func (f LetterFilter) Check() error {
	if len(f.Terms) > maxTerms {
		return fmt.Errorf("%w: a filter has at most %d terms", driver.ErrInvalid, maxTerms)
	}
	for _, t := range f.Terms {
		if err := t.check(); err != nil {
			return err
		}
	}
	return nil
}

func (t Term) check() error {
	_, kind := fieldOf(t.Field)
	ops := map[fieldKind]string{
		wordField: "is starts has", textField: "is has", numberField: "is lt le gt ge",
		headerField: "is starts has", payloadField: "is starts has lt le gt ge",
	}
	switch {
	case kind == 0:
		return fmt.Errorf("%w: letters have no field %q", driver.ErrInvalid, t.Field)
	case t.Op == "" || !strings.Contains(" "+ops[kind]+" ", " "+string(t.Op)+" "):
		return fmt.Errorf("%w: field %s has no operator %q", driver.ErrInvalid, t.Field, string(t.Op))
	case len(t.Values) == 0 || len(t.Values) > maxTerms:
		return fmt.Errorf("%w: a term has 1 to %d values", driver.ErrInvalid, maxTerms)
	case kind == headerField && t.Path == "":
		return fmt.Errorf("%w: the name of the header is missing", driver.ErrInvalid)
	case kind == payloadField && t.Path == "" && t.Op != OpHas:
		return fmt.Errorf("%w: a payload without a path can only be looked through", driver.ErrInvalid)
	case kind == numberField || kind == payloadField && t.ordered():
		return t.checkNumbers(kind == numberField)
	}
	return nil
}

// ordered reports whether the term compares numbers.
func (t Term) ordered() bool {
	return t.Op == OpLess || t.Op == OpMost || t.Op == OpMore || t.Op == OpLeast
}

func (t Term) checkNumbers(whole bool) error {
	for _, v := range t.Values {
		_, err := strconv.ParseFloat(v, 64)
		if whole {
			_, err = strconv.ParseInt(v, 10, 64)
		}
		if err != nil {
			return fmt.Errorf("%w: %q is no number that %s can be compared with", driver.ErrInvalid, v, t.Field)
		}
	}
	return nil
}

// A condition is a part of a WHERE clause with its arguments. Only fixed texts go
// into the clause.
type condition struct {
	conds []string
	args  []any
}

func (c *condition) add(cond string, args ...any) {
	c.conds, c.args = append(c.conds, cond), append(c.args, args...)
}

// join adds what another one asks for.
func (c *condition) join(other condition) {
	c.conds, c.args = append(c.conds, other.conds...), append(c.args, other.args...)
}

// clause is the whole, for a statement.
func (c *condition) clause() string { return " where " + strings.Join(c.conds, " and ") }

// where is the condition of a filter that has been checked. Where the filter is not
// exact it lets too many letters through: see fits.
func (s *Store) where(f LetterFilter) condition {
	c := f.led()
	words := f.words()
	switch {
	case f.either: // of all that is walked through
	case f.walked():
		c.join(f.dead())
	case len(f.IDs) == 0:
		words = words[1:] // the first one leads
	}
	for _, w := range words {
		c.add(w.cond(), w.value)
	}
	if f.Reason != "" {
		c.add("reason = ?", f.Reason)
	}
	f.times(&c)
	for _, t := range f.Terms {
		if !t.word() {
			s.term(&c, t)
		}
	}
	return c
}

// times adds the bounds of time.
func (f LetterFilter) times(c *condition) {
	if !f.After.IsZero() {
		c.add("died_at >= ?", f.After.UnixMilli())
	}
	if !f.Before.IsZero() {
		c.add("died_at < ?", f.Before.UnixMilli())
	}
}

// dead is the condition that letters are dead, or that they were removed.
func (f LetterFilter) dead() (c condition) {
	if f.Discarded {
		c.add("discarded_at is not null")
	} else {
		c.add("discarded_at is null")
	}
	return c
}

// term adds the condition of a term.
func (s *Store) term(c *condition, t Term) {
	_, kind := fieldOf(t.Field)
	if t.read() && (t.Not || t.ordered()) {
		return // what the database could say of the bytes tells nothing
	}
	var any condition
	for _, v := range t.Values {
		s.value(&any, kind, t, v)
	}
	if t.read() {
		// JSON may write any text with a backslash: then what it stands for is seen when
		// it is read.
		s.value(&any, kind, t, `\`)
	}
	either := "(" + strings.Join(any.conds, " or ") + ")"
	if t.Not {
		either = "not " + either
	}
	c.add(either, any.args...)
}

// value adds what one value of a term asks of its column.
func (s *Store) value(c *condition, kind fieldKind, t Term, v string) {
	column, _ := fieldOf(t.Field)
	switch {
	case kind == payloadField:
		c.add(fmt.Sprintf(s.SQL.HasBytes, column), []byte(v))
	case kind == headerField || t.Op == OpHas:
		c.add(fmt.Sprintf(s.SQL.HasText, column), v)
	case kind == numberField:
		n, _ := strconv.ParseInt(v, 10, 64) // checked
		c.add(column+map[Op]string{OpIs: " = ?", OpLess: " < ?", OpMost: " <= ?", OpMore: " > ?", OpLeast: " >= ?"}[t.Op], n)
	case t.Op == OpStarts:
		c.add("("+column+" >= ? and "+column+" < ?)", v, v+lastText)
	default:
		c.add(column+" = ?", v)
	}
}

// lastText sorts after all that can follow a beginning: texts compare by their bytes.
const lastText = "\U0010FFFF"

// bodies reports whether bodies are read: for who asked, or to be judged here.
func (f LetterFilter) bodies() bool {
	return !f.Bare || slices.ContainsFunc(f.Terms, func(t Term) bool { return t.Field == FieldPayload && t.read() })
}

// timed reports whether the filter has bounds of time.
func (f LetterFilter) timed() bool { return !f.After.IsZero() || !f.Before.IsZero() }
