package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn/internal/config"
)

// redactedText stands where a secret is.
const redactedText = "***"

// redact hides what headers and the body have under names of secrets, and keeps the
// names of what it hides.
func (r *letterRow) redact() error {
	r.Header = maps.Clone(r.Header)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if config.NamesSecret(name) && r.Header[name] != "" {
			r.Header[name] = redactedText
			r.Redacted = append(r.Redacted, "header."+name)
		}
	}
	if r.Body == nil {
		return nil
	}
	red := redaction{body: r.Body, from: json.NewDecoder(bytes.NewReader(r.Body))}
	if err := red.value("payload"); err != nil {
		return err
	}
	r.Body = append(red.out, r.Body[red.done:]...)
	r.Redacted = append(r.Redacted, red.hidden...)
	return nil
}

// A redaction goes through JSON once, and leaves all but secrets byte for byte.
type redaction struct {
	body   []byte
	from   *json.Decoder
	out    []byte // of the body up to done
	done   int64
	hidden []string
}

// value goes through the next value, which is at a path.
func (r *redaction) value(path string) error {
	t, err := r.from.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return r.object(path)
	case json.Delim('['):
		for i := 0; r.from.More(); i++ {
			if err := r.value(path + "." + strconv.Itoa(i)); err != nil {
				return err
			}
		}
		_, err = r.from.Token()
	}
	return err
}

// object goes through the rest of an object.
func (r *redaction) object(path string) error {
	for r.from.More() {
		t, err := r.from.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		switch {
		case !ok:
			err = errors.New("an object's key is no text")
		case config.NamesSecret(key):
			err = r.hide(path + "." + key)
		default:
			err = r.value(path + "." + key)
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
	r.out = append(r.out, `"`+redactedText+`"`...)
	r.done, r.hidden = end, append(r.hidden, path)
	return nil
}
