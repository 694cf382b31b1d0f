package view_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

func TestSecretsAreHiddenAndAllElseIsAsItWas(t *testing.T) {
	for body, c := range map[string]struct {
		want  string
		paths []string
	}{
		`{"a" : 1.50, "token":"k2f9"}`: {`{"a" : 1.50, "token":"***"}`, []string{"payload.token"}},
		`{"user":{"password":"x"},"n":[{"pwd":7}]}`: {
			`{"user":{"password":"***"},"n":[{"pwd":"***"}]}`, []string{"payload.user.password", "payload.n.0.pwd"},
		},
		`{"secret":{"a":[1,2]},"b":true}`: {`{"secret":"***","b":true}`, []string{"payload.secret"}},
		`{"token":null,"api_key":""}`:     {`{"token":null,"api_key":""}`, nil},
		`"token"`:                         {`"token"`, nil},
	} {
		got, paths, err := view.OfBody([]byte(body)).Hide(posthorn.Secrets{})
		if err != nil || string(got.Body) != c.want || !slices.Equal(paths, c.paths) {
			t.Errorf("%s became %s with %v hidden, %v", body, got.Body, paths, err)
		}
	}
}

// A payment has secrets that no name tells.
type payment struct {
	Card struct {
		Number string `json:"no" posthorn:"secret"`
		Until  string `json:"until"`
	} `json:"card"`
	Notes []string `json:"note" posthorn:"secret"`
	Next  *payment `json:"next"`
}

// Kind names it.
func (payment) Kind() string { return "payment" }

// payments are the handlers of a program that knows payments.
func payments() *posthorn.Mux {
	m := posthorn.NewMux()
	posthorn.Handle(m, func(context.Context, payment) error { return nil })
	return m
}

func TestWhatATypeMarksIsHiddenWhereItsKindIsKnown(t *testing.T) {
	const body = `{ "card":{"no":4711, "until":"2030"}, "next":{"NOTE":["x"],"next":{"card":{"no":"1"},"token":"k"}} }`
	for kind, c := range map[string]struct {
		want  string
		paths []string
	}{
		"payment": {
			`{ "card":{"no":"***", "until":"2030"}, "next":{"NOTE":"***","next":{"card":{"no":"***"},"token":"***"}} }`,
			[]string{"payload.card.no", "payload.next.NOTE", "payload.next.next.card.no", "payload.next.next.token"},
		},
		"nobody's": {
			`{ "card":{"no":4711, "until":"2030"}, "next":{"NOTE":["x"],"next":{"card":{"no":"1"},"token":"***"}} }`,
			[]string{"payload.next.next.token"},
		},
	} {
		got, paths, err := view.OfBody([]byte(body)).Hide(payments().Secrets(kind))
		if err != nil || string(got.Body) != c.want || !slices.Equal(paths, c.paths) {
			t.Errorf("of %s it is %s with %v hidden, %v", kind, got.Body, paths, err)
		}
	}
}

func TestAHeaderIsHiddenInACopy(t *testing.T) {
	header := map[string]string{"Authorization": "Bearer c4n4ry", "tenant": "7"}
	l := view.OfLetter(store.Letter{Envelope: driver.Envelope{Header: header}}).Hide()
	want := map[string]string{"Authorization": "***", "tenant": "7"}
	if !maps.Equal(l.Header, want) || !slices.Equal(l.Redacted, []string{"header.Authorization"}) {
		t.Errorf("letter %+v", l)
	}
	if !maps.Equal(header, map[string]string{"Authorization": "Bearer c4n4ry", "tenant": "7"}) {
		t.Errorf("the letter's own header became %v", header)
	}
}

func TestAPatchIsShownWithoutItsValuesForSecrets(t *testing.T) {
	for patch, c := range map[string]struct {
		want  string
		paths []string
	}{
		`[{"op":"remove","path":"/token"}, {"op":"move","from":"/token","path":"/pin"}]`: {
			`[{"op":"remove","path":"/token"}, {"op":"move","from":"/token","path":"/pin"}]`, nil,
		},
		`[ {"op":"add", "path":"/a/api~1key/0", "value":[1]},{"value":"x","op":"test","path":"/card/no"} ]`: {
			`[ {"op":"add", "path":"/a/api~1key/0", "value":[1]},{"value":"***","op":"test","path":"/card/no"} ]`,
			[]string{"patch.1.value"},
		},
		`[{"op":"replace","path":"/a/password/0","value":{"x":1}},{"op":"add","path":"/token","value":""}]`: {
			`[{"op":"replace","path":"/a/password/0","value":"***"},{"op":"add","path":"/token","value":""}]`,
			[]string{"patch.0.value"},
		},
		`[{"op":"add","path":"/next/next/card","value":{"no":"1","until":"2030"}}]`: {
			`[{"op":"add","path":"/next/next/card","value":{"no":"***","until":"2030"}}]`, []string{"patch.0.value.no"},
		},
		`[{"op":"add","path":"/note/-","value":"x"}]`: {
			`[{"op":"add","path":"/note/-","value":"***"}]`, []string{"patch.0.value"},
		},
		`[{"op":"replace","path":"","value":{"a":1,"secret":2}}]`: {
			`[{"op":"replace","path":"","value":{"a":1,"secret":"***"}}]`, []string{"patch.0.value.secret"},
		},
		`[{"path":"/a","path":"/token","op":"add","value":"x","Value":"x"}]`: {
			`[{"path":"/a","path":"/token","op":"add","value":"***","Value":"***"}]`,
			[]string{"patch.0.value", "patch.0.Value"},
		},
		`[{"op":"add","path":"token","value":"x"},{"op":"add","value":"x"},{"op":"add","path":"/a","value":"x"}]`: {
			`[{"op":"add","path":"token","value":"***"},{"op":"add","value":"***"},{"op":"add","path":"/a","value":"x"}]`,
			[]string{"patch.0.value", "patch.1.value"},
		},
		`[null]`:             {`"***"`, []string{"patch"}},
		`{"token":"x"}`:      {`"***"`, []string{"patch"}},
		`[{"op":{"x":"y"}}]`: {`"***"`, []string{"patch"}},
		`[]`:                 {`[]`, nil},
		``:                   {``, nil},
	} {
		o := view.OfOperation(store.Operation{Patch: json.RawMessage(patch)}, payments())
		if string(o.Patch) != c.want || !slices.Equal(o.Redacted, c.paths) {
			t.Errorf("%s\nis shown as\n%s with %v hidden", patch, o.Patch, o.Redacted)
		}
	}
}

func TestAPatchIsJudgedByTheTypesOfTheMessagesThatItIsAbout(t *testing.T) {
	for kind, want := range map[string]string{"": "***", "payment": "***", "nobody's": "x"} {
		o := view.OfOperation(store.Operation{
			Filter: store.LetterFilter{Kind: kind}, Patch: json.RawMessage(`[{"op":"add","path":"/note","value":"x"}]`),
		}, payments())
		if got := string(o.Patch); got != `[{"op":"add","path":"/note","value":"`+want+`"}]` {
			t.Errorf("of letters of kind %q it is %s", kind, got)
		}
	}
}

func TestANumberOfAnySizeIsShownAsItIs(t *testing.T) {
	content := view.OfBody([]byte(`{"far":1e700,"token":"x","long":12345678901234567890}`))
	shown, paths, err := content.Hide(payments().Secrets())
	if want := `{"far":1e700,"token":"***","long":12345678901234567890}`; err != nil || string(shown.Body) != want ||
		!slices.Equal(paths, []string{"payload.token"}) {
		t.Errorf("%s, %q, %v", shown.Body, paths, err)
	}
	patch := `[{"op":"add","path":"/far","value":1e700}]`
	o := view.OfOperation(store.Operation{Patch: json.RawMessage(patch)}, payments())
	if string(o.Patch) != patch {
		t.Errorf("%s is shown as %s", patch, o.Patch)
	}
}

// Whatever the body is, hiding keeps it JSON, or leaves it alone.
func FuzzHide(f *testing.F) {
	for _, body := range []string{
		`{"token":"a","b":[{"password":{}}]}`, `{"card":{"no":[1]},"next":{"note":7}}`,
		`[]`, `{"a":"\u0000"}`, "\xff", `{"token":1,"token":2}`,
	} {
		f.Add([]byte(body))
	}
	marks := payments().Secrets()
	f.Fuzz(func(t *testing.T, body []byte) {
		before := view.OfBody(body)
		got, paths, err := before.Hide(marks)
		if err != nil || (before.Body != nil) != json.Valid(got.Body) || got.Base64 != before.Base64 {
			t.Errorf("%q became %q, %v", body, got.Body, err)
		}
		if len(paths) == 0 && string(got.Body) != string(before.Body) {
			t.Errorf("%q became %q although nothing is hidden", body, got.Body)
		}
	})
}
