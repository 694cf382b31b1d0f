package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
)

// tryLetter runs today's handler on a dead letter, in a transaction that is rolled back.
func (c *call) tryLetter() error {
	slow, err := boolOf(c.r.URL.Query(), "with_slow_part")
	if err != nil {
		return err
	}
	if c.dispatcher == nil || len(c.mux.Kinds()) == 0 {
		return &problem{Status: http.StatusNotImplemented, Code: "E-NO-HANDLERS", Title: "this program runs no handlers here",
			Detail: "they are tried by a program that serves the API with its handlers and its dispatcher",
			Try:    "PROGRAM failed try, where PROGRAM has the handlers"}
	}
	l, err := c.letter(false)
	if err != nil {
		return err
	}
	t, err := failure.Try(c.ctx, c.store, l, failure.TryOptions{
		Mux: c.mux, Dispatcher: c.dispatcher, SlowPart: slow, Log: c.log,
	})
	if err != nil {
		return c.untold(err)
	}
	return c.answer(http.StatusOK, view.OfTrial(&t))
}

// untold words that a trial was not waited for to its end. Else it is the store's error.
func (c *call) untold(err error) error {
	if c.ctx.Err() == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &problem{Status: http.StatusGatewayTimeout, Code: "E-TRY-TIMEOUT",
		Title: "the handler takes too long to be tried here",
		Detail: fmt.Sprintf("an answer has to be there within %s; its transaction was rolled back, a slow part and what it "+
			"did elsewhere were not, and what it would have ended with is not known", c.within),
		Try: "PROGRAM failed try " + c.r.PathValue("id")}
}
