package failure_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/failure"
)

func TestWhatAnEditHasChangedIsNamed(t *testing.T) {
	t.Parallel()
	was := failure.Version{
		Header: map[string]string{"tenant": "a", "gone": ""},
		Body:   []byte(`{"to":"a","n":[1,{"x":2}],"old":null,"big":12345678901234567890,"list":[1]}`),
	}
	for _, c := range []struct{ header, body, want string }{
		{"a", string(was.Body), "header.gone"},
		{"b", strings.Replace(string(was.Body), `"x":2`, `"x":"2"`, 1), "header.gone header.tenant payload.n.1.x"},
		{"a", `{"to":"a","n":[1,{"x":2}],"new":null,"big":12345678901234567891,"list":[1,2]}`,
			"header.gone payload.big payload.list payload.new payload.old"},
		{"a", string(was.Body) + " ", "header.gone payload"},
		{"a", string(was.Body) + "}", "header.gone payload"},
		{"a", `[]`, "header.gone payload"},
	} {
		is := failure.Version{Header: map[string]string{"tenant": c.header}, Body: []byte(c.body)}
		if got := strings.Join(was.Changed(is), " "); got != c.want {
			t.Errorf("%s and %s: changed %q, want %q", c.header, c.body, got, c.want)
		}
	}
	if got := was.Changed(was); got != nil {
		t.Errorf("nothing was changed, but %q", got)
	}
}
