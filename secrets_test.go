package posthorn_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// credentials are embedded in other types.
type credentials struct {
	Login string
	Pin   string `json:"pin" posthorn:"secret"`
}

// A Trace is embedded as a whole secret.
type Trace struct{ Host, Path string }

// A card is nested.
type card struct {
	Number string    `json:"no,omitempty" posthorn:"secret"`
	Until  time.Time `json:"until"`
}

// boxed is embedded under a name, under which JSON has it although it is not exported.
type boxed struct {
	Number string `json:"no" posthorn:"secret"`
	Size   int    `json:"size"`
}

// A node contains itself.
type node struct {
	Name     string           `json:"name"`
	Key      string           `json:"key" posthorn:"secret"`
	Parent   *node            `json:"parent"`
	Children []node           `json:"children"`
	ByName   map[string]*node `json:"by_name"`
	*node                     //nolint:unused // JSON has it once
}

// A payment has marks of all sorts.
type payment struct {
	credentials
	*Trace `posthorn:"secret"`
	boxed  `json:"boxed"`

	Inner    credentials `json:"inner"`
	Card     *card       `json:"card"`
	Cards    []*card
	Grid     [2][]card
	Wallets  map[string][]card
	Whole    card           `posthorn:"secret"`
	Any      any            `json:"any" posthorn:"secret"`
	Left     any            `json:"left"`
	Texts    map[int]string `json:"texts" posthorn:"secret"`
	Blob     []byte         `json:"blob" posthorn:"secret"`
	Dash     string         `json:"-," posthorn:"secret"` //nolint:staticcheck // it is the name "-"
	Out      string         `json:"-" posthorn:"secret"`
	Odd      string         `json:"o'dd" posthorn:"secret"` //nolint:staticcheck // JSON takes no such name
	OneWord  string         `json:",omitempty" posthorn:"secret"`
	Open     string         `json:"open"`
	Original string         `json:"renamed" posthorn:"secret"`
	Tree     node           `json:"tree"`
}

// Kind names it.
func (payment) Kind() string { return "payment" }

// A ledger is a message that is a list by itself.
type ledger []card

// Kind names it.
func (ledger) Kind() string { return "ledger" }

// A typo has a tag that means nothing.
type typo struct {
	Cards []struct {
		Number string `posthorn:"secrets"`
	}
}

// Kind names it.
func (typo) Kind() string { return "typo" }

// marked reports whether a place, or one on the way to it, is marked.
func marked(s posthorn.Secrets, path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if s = s.In(name); s.Marked() {
			return true
		}
	}
	return false
}

func TestMarksOfATypeAreFoundWhereverJSONHasThem(t *testing.T) {
	m := posthorn.NewMux()
	posthorn.Handle(m, ignore[payment])
	posthorn.HandleTx(m, func(context.Context, *posthorn.Tx, ledger) error { return nil })
	posthorn.HandleEffect(m, func(context.Context, order) (posthorn.Effect, error) { return nil, nil })
	h, _ := m.Handler("payment")
	for _, path := range []string{
		"pin", "PIN", "inner/pin", "boxed/no",
		"card/no", "card/NO", "Cards/7/no", "cards/0/no", "Grid/1/0/no", "Wallets/any/3/no",
		"Whole", "Whole/until", "any", "any/x", "texts/1", "blob", "-", "Odd", "OneWord", "renamed", "Host", "path",
		"tree/key", "tree/parent/key",
		"tree/parent/parent/parent/key", "tree/children/0/by_name/x/children/1/key",
	} {
		if !marked(h.Secrets(), path) {
			t.Errorf("%s is not marked", path)
		}
	}
	for _, path := range []string{
		"", "Login", "inner/Login", "boxed", "boxed/size",
		"card", "card/until", "Cards", "Cards/7", "card/Number", "left", "left/pin", "out", "Out",
		"o'dd", "open", "Original", "tree", "tree/name", "tree/parent/name", "nowhere/pin", "n", "no", "key",
	} {
		if marked(h.Secrets(), path) {
			t.Errorf("%s is marked", path)
		}
	}
	l, _ := m.Handler("ledger")
	if s := l.Secrets(); !marked(s, "0/no") || marked(s, "0/until") || s.Marked() {
		t.Error("the elements of a list are not marked by their type")
	}
}

func TestMarksOfSeveralKindsAreThoseOfEach(t *testing.T) {
	m := posthorn.NewMux()
	posthorn.Handle(m, ignore[payment])
	posthorn.Handle(m, ignore[ledger])
	for _, c := range []struct {
		kinds            []string
		payment, ledgers bool
	}{
		{nil, true, true}, {[]string{"payment"}, true, false}, {[]string{"ledger", "nobody"}, false, true},
		{[]string{"nobody"}, false, false},
	} {
		s := m.Secrets(c.kinds...)
		if got := []bool{marked(s, "pin"), marked(s, "4/no")}; !slices.Equal(got, []bool{c.payment, c.ledgers}) {
			t.Errorf("of %q the marks of payment and ledger are found: %v", c.kinds, got)
		}
	}
}

func TestATagThatMeansNothingPanicsAtRegistration(t *testing.T) {
	text := panicOf(func() { posthorn.Handle(posthorn.NewMux(), ignore[typo]) })
	if !strings.Contains(text, `field Number of struct`) || !strings.Contains(text, `write posthorn:"secret"`) {
		t.Errorf("panic %q", text)
	}
}
