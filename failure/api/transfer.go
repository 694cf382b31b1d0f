package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/posthorn/posthorn/failure"
)

// export streams letters as lines. When it cannot go on, the connection breaks: what has
// arrived is not all.
func (c *call) export() error {
	which, err := choiceOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	f, err := c.filter(which)
	if err != nil {
		return err
	}
	out := &stream{c: c}
	_, err = failure.Export(c.ctx, c.store, f, out)
	switch {
	case err == nil && !out.begun:
		_, err = out.Write(nil)
		return err
	case err != nil && out.begun:
		c.log.Warn("export over the API was cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// A stream writes parts of an answer, each of which has to arrive in time.
type stream struct {
	c     *call
	begun bool
}

// Write sends a part.
func (s *stream) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.c.w.Header().Set("Content-Type", "application/x-ndjson")
		s.c.w.WriteHeader(http.StatusOK)
	}
	if err := http.NewResponseController(s.c.w).SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
		return 0, err
	}
	return s.c.w.Write(p)
}

// Bounds of imports.
const (
	maxImport    = 256 << 20 // bytes; more goes by the command line
	importWithin = 10 * time.Minute
)

// importedView is what an import has done.
type importedView struct {
	Letters int `json:"letters"`
	Skipped int `json:"skipped"`
}

// imports adds letters that were exported. They wait in a file until all of them have come,
// since each line is looked at before the first letter is added.
func (c *call) imports() (err error) {
	var o failure.ImportOptions
	if o.SkipExisting, err = boolOf(c.r.URL.Query(), "skip_existing"); err != nil {
		return err
	}
	if err := c.typed("application/x-ndjson"); err != nil {
		return err
	}
	file, err := os.CreateTemp("", "posthorn-import-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("keep import: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	patience := http.NewResponseController(c.w)
	until := time.Now().Add(importWithin)
	if err := errors.Join(patience.SetReadDeadline(until), patience.SetWriteDeadline(until)); err != nil {
		return err
	}
	if _, err := io.Copy(file, http.MaxBytesReader(c.w, c.r.Body, maxImport)); err != nil {
		return cutOff(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("keep import: %w", err)
	}
	done, err := failure.Import(c.ctx, c.store, file, o)
	if err != nil {
		p := problemOf(err)
		if done.Letters > 0 {
			p.Detail = fmt.Sprintf("%d letters were imported before: %s", done.Letters, p.Detail)
		}
		return p
	}
	return c.answer(http.StatusOK, importedView{Letters: done.Letters, Skipped: done.Skipped})
}
