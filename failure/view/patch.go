package view

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/printable"
)

// hidePatch returns a JSON Patch (RFC 6902) without the values that it has for secrets, and
// the paths of those; all else is the same byte for byte. Of what is no patch nothing is
// shown.
func hidePatch(patch json.RawMessage, marks posthorn.Secrets) (shown json.RawMessage, paths []string) {
	if len(patch) == 0 {
		return patch, nil
	}
	var steps []map[string]json.RawMessage
	r := redactionOf(patch)
	err := json.Unmarshal(patch, &steps)
	if err == nil {
		err = r.patch(steps, marks)
	}
	if err != nil {
		return json.RawMessage(`"` + hidden + `"`), []string{"patch"}
	}
	return append(r.out, patch[r.done:]...), r.names
}

// patch goes through the steps of a patch, which are known already: the path of one may
// stand behind its value.
func (r *redaction) patch(steps []map[string]json.RawMessage, marks posthorn.Secrets) error {
	if _, err := r.from.Token(); err != nil {
		return err
	}
	for i, step := range steps {
		at, open := target(step["path"], marks)
		if t, err := r.from.Token(); err != nil || t != json.Delim('{') {
			return errors.Join(err, errors.New("a step is no object"))
		}
		for r.from.More() {
			if err := r.member("patch."+strconv.Itoa(i), at, open); err != nil {
				return err
			}
		}
		if _, err := r.from.Token(); err != nil {
			return err
		}
	}
	return nil
}

// member goes through one member of a step: all but its words may be a value, which is
// of a place that is open or secret.
func (r *redaction) member(path string, at posthorn.Secrets, open bool) error {
	t, err := r.from.Token()
	if err != nil {
		return err
	}
	switch key, ok := t.(string); {
	case !ok:
		return errors.New("an object's key is no text")
	case key == "op" || key == "path" || key == "from":
		var word string
		return r.from.Decode(&word)
	case !open:
		return r.hide(path + "." + key)
	default:
		return r.value(path+"."+key, at)
	}
}

// target is the place to which a JSON Pointer (RFC 6901) leads. open is false where it, or
// one on the way to it, is secret, and where it cannot be read.
func target(pointer json.RawMessage, marks posthorn.Secrets) (at posthorn.Secrets, open bool) {
	var text string
	if pointer == nil || json.Unmarshal(pointer, &text) != nil {
		return at, false
	}
	if at = marks; text == "" {
		return at, true
	}
	if text[0] != '/' {
		return at, false
	}
	for name := range strings.SplitSeq(text[1:], "/") {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		if at = at.In(name); at.Marked() || printable.NamesSecret(name) {
			return at, false
		}
	}
	return at, true
}
