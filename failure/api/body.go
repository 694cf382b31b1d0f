package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

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

// content reads the request's body, which has one of some types.
func (c *call) content(most int64, types ...string) (text []byte, kind string, err error) {
	kind, _, err = mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	for _, t := range types {
		if err == nil && kind == t {
			text, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
			if large := (*http.MaxBytesError)(nil); err != nil && !errors.As(err, &large) {
				err = usage("the body was cut off")
			}
			return text, kind, err
		}
	}
	return nil, "", &problem{
		Status: http.StatusUnsupportedMediaType, Code: "E-MEDIA-TYPE", Title: "the request's body has another type",
		Detail: fmt.Sprintf("Content-Type is to be one of %q", types),
	}
}

// read decodes the request's body. A key that is not known is refused: what was meant by it
// would not be done.
func (c *call) read(into any) error {
	text, _, err := c.content(maxCommand, "application/json")
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
