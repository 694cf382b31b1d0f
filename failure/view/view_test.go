package view_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

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
		got, paths, err := view.OfBody([]byte(body)).Hide()
		if err != nil || string(got.Body) != c.want || !slices.Equal(paths, c.paths) {
			t.Errorf("%s became %s with %v hidden, %v", body, got.Body, paths, err)
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

// Whatever the body is, hiding keeps it JSON, or leaves it alone.
func FuzzHide(f *testing.F) {
	for _, body := range []string{
		`{"token":"a","b":[{"password":{}}]}`, `[]`, `{"a":"\u0000"}`, "\xff", `{"token":1,"token":2}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := view.OfBody(body)
		got, paths, err := before.Hide()
		if err != nil || (before.Body != nil) != json.Valid(got.Body) || got.Base64 != before.Base64 {
			t.Errorf("%q became %q, %v", body, got.Body, err)
		}
		if len(paths) == 0 && string(got.Body) != string(before.Body) {
			t.Errorf("%q became %q although nothing is hidden", body, got.Body)
		}
	})
}
