package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/printable"
)

// hidden stands where a secret is.
const hidden = "***"

// HideHeader returns a header without what stands under names of secrets, and which
// fields those are. The header itself is not changed.
func HideHeader(h map[string]string) (shown map[string]string, fields []string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !printable.NamesSecret(name) || h[name] == "" {
			continue
		}
		if fields == nil {
			h = maps.Clone(h)
		}
		h[name] = hidden
		fields = append(fields, "header."+name)
	}
	return h, fields
}

// Hide returns the letter without what its header has under names of secrets.
func (l Letter) Hide() Letter {
	var fields []string
	l.Header, fields = HideHeader(l.Header)
	l.Redacted = append(slices.Clip(l.Redacted), fields...)
	return l
}

// Hide returns the content without what its JSON has where its type marks secrets, and
// under names of secrets whatever the type says, and the paths of those; all else is the
// same byte for byte. A body that is not JSON is not looked into.
func (c Content) Hide(marks posthorn.Secrets) (shown Content, paths []string, err error) {
	if c.Body == nil {
		return c, nil, nil
	}
	r := redactionOf(c.Body)
	if err := r.value("payload", marks); err != nil {
		return Content{}, nil, err
	}
	return Content{Body: append(r.out, c.Body[r.done:]...)}, r.names, nil
}

// A redaction goes through JSON once, and leaves all but secrets byte for byte.
type redaction struct {
	body  []byte
	from  *json.Decoder
	out   []byte // of the body up to done
	done  int64
	names []string
}

// redactionOf begins with a body. Its numbers need not fit a float64.
func redactionOf(body []byte) *redaction {
	r := &redaction{body: body, from: json.NewDecoder(bytes.NewReader(body))}
	r.from.UseNumber()
	return r
}

// value goes through the next value, which is at a path.
func (r *redaction) value(path string, marks posthorn.Secrets) error {
	t, err := r.from.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return r.object(path, marks)
	case json.Delim('['):
		for i := 0; r.from.More(); i++ {
			index := strconv.Itoa(i)
			if err := r.value(path+"."+index, marks.In(index)); err != nil {
				return err
			}
		}
		_, err = r.from.Token()
	}
	return err
}

// object goes through the rest of an object.
func (r *redaction) object(path string, marks posthorn.Secrets) error {
	for r.from.More() {
		t, err := r.from.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		in := marks.In(key)
		switch {
		case !ok:
			err = errors.New("an object's key is no text")
		case in.Marked() || printable.NamesSecret(key):
			err = r.hide(path + "." + key)
		default:
			err = r.value(path+"."+key, in)
		}
		if err != nil {
			return err
		}
	}
	_, err := r.from.Token()
	return err
}

// hide replaces the next value, unless there is none.
func (r *redaction) hide(path string) error {
	var secret json.RawMessage
	if err := r.from.Decode(&secret); err != nil {
		return err
	}
	if text := string(secret); text == `null` || text == `""` {
		return nil
	}
	end := r.from.InputOffset()
	r.out = append(r.out, r.body[r.done:end-int64(len(secret))]...)
	r.out = append(r.out, `"`+hidden+`"`...)
	r.done, r.names = end, append(r.names, path)
	return nil
}
