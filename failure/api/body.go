package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/printable"
)

// Bounds of what is read, in bytes.
const (
	maxCommand = 256 << 10
	maxEdit    = driver.MaxBody + 64<<10
)

// answer writes a value as JSON. A terminal obeys nothing in it, nor does a page.
func (c *call) answer(status int, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(printable.JSON(b.Bytes())) // whoever asked has gone
	return nil
}

// typed checks that the request's body has one of some types.
func (c *call) typed(types ...string) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err == nil && slices.Contains(types, kind) {
		return nil
	}
	return &problem{
		Status: http.StatusUnsupportedMediaType, Code: "E-MEDIA-TYPE", Title: "the request's body has another type",
		Detail: fmt.Sprintf("Content-Type is to be one of %q", types),
	}
}

// content reads the request's body, which has one of some types.
func (c *call) content(most int64, types ...string) ([]byte, error) {
	if err := c.typed(types...); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	return text, cutOff(err)
}

// cutOff words why a body could not be read; nil is nil.
func cutOff(err error) error {
	if large := (*http.MaxBytesError)(nil); err == nil || errors.As(err, &large) {
		return err
	}
	return usage("the body was cut off")
}

// read decodes the request's body. A key that is not known is refused: what was meant by it
// would not be done.
func (c *call) read(into any) error {
	text, err := c.content(maxCommand, "application/json")
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return usage("the body is not what is asked for: " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return usage("something follows the value in the body")
	}
	return nil
}
