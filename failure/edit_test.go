package failure_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/witness"
)

func version(body string) failure.Version {
	return failure.Version{Header: map[string]string{"k": "v"}, Body: []byte(body)}
}

func TestAPatchChangesWhatItNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	v := version(`{"z":12345678901234567890,"a":"<&>","n":[1,2]}`)
	for _, c := range []struct{ patch, want string }{
		{`[{"op":"replace","path":"/a","value":"b"}]`, `{"z":12345678901234567890,"a":"b","n":[1,2]}`},
		{`[{"op":"remove","path":"/n/0"},{"op":"add","path":"/n/-","value":3}]`,
			`{"z":12345678901234567890,"a":"<&>","n":[2,3]}`},
		{`[{"op":"test","path":"/a","value":"other"},{"op":"remove","path":"/a"}]`, ""},
		{`[{"op":"remove","path":"/absent"}]`, ""},
		{`{"a":1}`, ""}, {`nonsense`, ""},
	} {
		got, err := v.Patch([]byte(c.patch))
		if (err != nil) != (c.want == "") || err == nil && string(got.Body) != c.want {
			t.Errorf("%s gives %s, %v, want %s", c.patch, got.Body, err, c.want)
		}
	}
	if _, err := version("not JSON").Patch([]byte(`[]`)); err == nil {
		t.Error("a body that is not JSON is patched")
	}
	got, err := v.Merge([]byte(`{"a":null,"n":7}`))
	if try(t, err); len(got.Body) != 32 || !strings.Contains(string(got.Body), `12345678901234567890`) {
		t.Errorf("merged to %s", got.Body)
	}
}

func TestADocumentThatIsNotEditedIsTheSameVersion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := failure.Version{
			Body: rapid.OneOf(
				rapid.SliceOf(rapid.Byte()),
				rapid.SampledFrom([][]byte{
					[]byte(" {\"a\" : 1.0, \"b\":\"\u2028<\\u003c\"}\n"), []byte(`null`), []byte(`12345678901234567890`), nil,
				})).Draw(t, "body"),
			Header: rapid.MapOf(rapid.StringMatching(`[a-z]{1,3}`), rapid.String()).Draw(t, "header"),
		}
		text, err := v.Document()
		try(t, err)
		again, err := v.Read(text)
		if err != nil || !again.Equal(v) {
			t.Fatalf("%+v is shown as %s and read as %+v, %v", v, text, again, err)
		}
	})
}

func TestADiffShowsTheLineThatDiffersAndObeysNobody(t *testing.T) {
	t.Parallel()
	d, err := version(`{"a":1,"b":"x\u001b[2J"}`).Diff(version(`{"a":2,"b":"x\u202e"}`))
	if try(t, err); !strings.Contains(d, `-    "a": 1,`) || !strings.Contains(d, `+    "a": 2,`) ||
		strings.ContainsAny(d, "\x1b\u202e") {
		t.Errorf("diff is %q", d)
	}
	if d, err = version(`{}`).Diff(version(`{}`)); d != "" || err != nil {
		t.Errorf("nothing differs, and the diff is %q, %v", d, err)
	}
}

// order is a message that has rules.
type order struct {
	Amount int

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (order) Kind() string { return "order" }

// Validate refuses nothing but a negative amount.
func (o order) Validate() error {
	if o.Amount < 0 {
		return errors.New("amount is negative")
	}
	return nil
}

func TestAVersionIsCheckedByTheHandlerOfItsKind(t *testing.T) {
	t.Parallel()
	m := posthorn.NewMux()
	posthorn.HandleTx(m, func(context.Context, *posthorn.Tx, order) error { return nil })
	var (
		decode  *posthorn.DecodeError
		invalid *posthorn.InvalidError
	)
	if err := version(`{"Amount":"x"}`).Check(m, "order"); !errors.As(err, &decode) {
		t.Errorf("undecodable: %v", err)
	}
	if err := version(`{"Amount":-1}`).Check(m, "order"); !errors.As(err, &invalid) {
		t.Errorf("invalid: %v", err)
	}
	if err := version(`{"Amount":1}`).Check(m, "order"); err != nil {
		t.Error(err)
	}
	if err := version(`{}`).Check(m, "other"); !errors.Is(err, failure.ErrUncheckable) {
		t.Errorf("unknown kind: %v", err)
	}
}
