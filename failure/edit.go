package failure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

// A Version is what of a dead letter can be edited.
type Version struct {
	Header map[string]string
	Body   []byte
}

// VersionOf is what the letter has now.
func VersionOf(l store.Letter) Version { return Version{Header: l.Header, Body: l.Body} }

// Equal reports whether two versions are the same, byte for byte.
func (v Version) Equal(other Version) bool {
	return maps.Equal(v.Header, other.Header) && bytes.Equal(v.Body, other.Body)
}

// Patch applies a JSON Patch (RFC 6902) to the body, which is JSON. Numbers keep their
// digits, and keys their order.
func (v Version) Patch(patch []byte) (Version, error) {
	p, err := readPatch(patch)
	if err != nil {
		return v, err
	}
	if !json.Valid(v.Body) {
		return v, errNotJSON
	}
	o := jsonpatch.NewApplyOptions()
	o.AccumulatedCopySizeLimit, o.EscapeHTML = driver.MaxBody, false
	body, err := p.ApplyWithOptions(v.Body, o)
	if err != nil {
		return v, misfit(p, v.Body, o)
	}
	return v.become(body), nil
}

// misfit says which operation of a patch does not apply.
func misfit(p jsonpatch.Patch, body []byte, o *jsonpatch.ApplyOptions) error {
	for i, op := range p {
		after, err := jsonpatch.Patch{op}.ApplyWithOptions(body, o)
		if err != nil {
			path, _ := op.Path() // an operation without one says so by err
			return fmt.Errorf("apply patch: operation %d, %s %s: %w", i+1, op.Kind(), path, err)
		}
		body = after
	}
	return fmt.Errorf("apply patch: its copies have more than %d bytes", driver.MaxBody)
}

// become is the version with another body. One that only spells the same otherwise is no
// other body: a patch that changes nothing leaves every byte.
func (v Version) become(body []byte) Version {
	if !bytes.Equal(plain(v.Body), plain(body)) {
		v.Body = body
	}
	return v
}

// CheckPatch reports what is wrong with a JSON Patch, whatever it is applied to.
func CheckPatch(patch []byte) error {
	_, err := readPatch(patch)
	return err
}

// readPatch reads a JSON Patch.
func readPatch(text []byte) (jsonpatch.Patch, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read patch: it is no JSON list of operations: %w", err)
	}
	p, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, fmt.Errorf("read patch: %w", err)
	}
	return p, nil
}

// Merge applies a JSON Merge Patch (RFC 7386) to the body, which is JSON.
func (v Version) Merge(patch []byte) (Version, error) {
	if !json.Valid(v.Body) {
		return v, errNotJSON
	}
	body, err := jsonpatch.MergePatch(v.Body, patch)
	if err != nil {
		return v, fmt.Errorf("merge patch: %w", err)
	}
	return v.become(body), nil
}

var errNotJSON = errors.New("the body is not JSON")

// A document is a version as an editor shows it.
type document struct {
	Header map[string]string `json:"header"`
	Body   json.RawMessage   `json:"body,omitempty"`
	Base64 []byte            `json:"body_base64,omitempty"` // of a body that is not JSON
}

// Document is the version as a text for an editor: JSON, with the header beside the body.
// An editor obeys nothing in it.
func (v Version) Document() ([]byte, error) {
	d := document{Header: v.Header}
	if d.Header == nil {
		d.Header = map[string]string{}
	}
	if v.isText() {
		d.Body = v.Body
	} else {
		d.Base64 = v.Body
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("show version: %w", err)
	}
	return printable.JSON(b.Bytes()), nil
}

// Read is the version that a document stands for. A body that says the same as that of
// v is the same, byte for byte.
func (v Version) Read(text []byte) (Version, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var d document
	if err := dec.Decode(&d); err != nil {
		return v, fmt.Errorf("read document: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return v, errors.New("read document: something follows the object")
	}
	out := Version{Header: d.Header, Body: d.Base64}
	if d.Body != nil {
		out.Body = compact(d.Body)
	}
	if v.isText() {
		out.Body = v.become(out.Body).Body
	}
	if len(out.Header) == 0 {
		out.Header = v.Header
		if len(v.Header) > 0 {
			out.Header = nil
		}
	}
	return out, nil
}

// isText reports whether the body is JSON that an editor can show.
func (v Version) isText() bool { return json.Valid(v.Body) && utf8.Valid(v.Body) }

// plain is JSON without spaces, with the escapes that Document makes.
func plain(text []byte) []byte { return printable.JSON(compact(text)) }

// compact is JSON without spaces.
func compact(text []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return text
	}
	return b.Bytes()
}

// Diff shows what another version has that v has not, line by line; empty when nothing
// differs. It is safe to print.
func (v Version) Diff(other Version) (string, error) {
	before, err := v.Document()
	if err != nil {
		return "", err
	}
	after, err := other.Document()
	if err != nil {
		return "", err
	}
	return printable.Block(string(diff.Diff("before", before, "after", after))), nil
}

// ErrUncheckable: no handler of this program knows the kind, so nobody can say whether
// the version makes sense. Compare with errors.Is.
var ErrUncheckable = errors.New("this program has no handler for the kind")

// Check asks the kind's handler whether it takes the body: it is decoded and validated
// as a worker would. Errors: ErrUncheckable; *posthorn.DecodeError and
// *posthorn.InvalidError.
func (v Version) Check(m *posthorn.Mux, kind string) error {
	h, ok := m.Handler(kind)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUncheckable, kind)
	}
	return h.Check(v.Body)
}
