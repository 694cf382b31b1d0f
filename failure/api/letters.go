package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// letterList is a page of dead letters.
type letterList struct {
	Items    []view.Letter `json:"items"`
	Next     int64         `json:"next,omitempty"`     // past, for the next page
	Searched int           `json:"searched,omitempty"` // letters, where the search ended before the page was full
	Rest     *restView     `json:"rest,omitempty"`
}

// restView is how many letters follow a page.
type restView struct {
	Count int64 `json:"count"`
	Exact bool  `json:"exact"` // else there are at least so many
	// Unsearched: they are those that have not been looked at, whether they fit or not.
	Unsearched bool `json:"unsearched"`
}

func (c *call) listLetters() error {
	q := c.r.URL.Query()
	which, err := choiceOf(q)
	if err != nil {
		return err
	}
	f, err := c.filter(which)
	if err != nil {
		return err
	}
	if f.Limit, f.Past, err = pageOf(q); err != nil {
		return err
	}
	f.Within, f.Bare = pageWithin, true
	page, err := c.store.LetterPage(c.ctx, f)
	if err != nil {
		return err
	}
	list := letterList{Items: lettersOf(page.Letters), Next: page.Next, Searched: page.Searched}
	if page.Next > 0 {
		if list.Rest, err = c.rest(f, page); err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, list)
}

// rest counts what follows a page, up to a bound.
func (c *call) rest(f store.LetterFilter, p store.LetterPage) (*restView, error) {
	f.Within = restWithin
	r, err := failure.RestOf(c.ctx, c.store, f, p)
	return &restView{Count: r.N, Exact: r.Exact, Unsearched: r.Unsearched}, err
}

// letter finds the latest dead letter with the id, or else one that was removed.
func (c *call) letter(discarded ...bool) (l store.Letter, err error) {
	id := c.r.PathValue("id")
	for _, gone := range discarded {
		found, err := c.store.LastLetter(c.ctx, id, gone)
		if err != nil {
			return l, err
		}
		if found != nil {
			return *found, nil
		}
	}
	return l, nothing("no such dead letter", id)
}

// letterWhole is a letter with all that is known of it.
type letterWhole struct {
	view.Letter
	view.Content
	History   []view.Attempt `json:"history"`
	Revisions []revisionView `json:"revisions"`
	Timeline  []momentView   `json:"timeline"`
}

func (c *call) showLetter() error {
	reveal, err := boolOf(c.r.URL.Query(), "reveal")
	if err != nil {
		return err
	}
	l, err := c.letter(false, true)
	if err != nil {
		return err
	}
	if l.Attempts, err = c.store.Attempts(c.ctx, l.ID); err != nil {
		return err
	}
	revisions, err := c.store.Revisions(c.ctx, l.ID)
	if err != nil {
		return err
	}
	acts, err := c.store.Acts(c.ctx, store.ActFilter{Message: l.ID, Limit: maxPage})
	if err != nil {
		return err
	}
	whole := letterWhole{
		Letter: view.OfLetter(l), Content: view.OfBody(l.Body), History: view.OfAttempts(l.Attempts),
		Timeline: lifeOf(l, acts), Revisions: []revisionView{},
	}
	for _, r := range revisions {
		whole.Revisions = append(whole.Revisions, revisionView{
			Number: r.Number, At: r.At.UTC(), Actor: r.Actor, Header: r.Header, Content: view.OfBody(r.Body),
		})
	}
	if !reveal {
		if whole, err = whole.hide(c.mux.Secrets(l.Kind)); err != nil {
			return err
		}
	}
	c.w.Header().Set("ETag", tagOf(l))
	return c.answer(http.StatusOK, whole)
}

// hide hides the secrets of the letter and of its earlier versions.
func (w letterWhole) hide(marks posthorn.Secrets) (letterWhole, error) {
	var paths []string
	var err error
	w.Letter = w.Letter.Hide()
	if w.Content, paths, err = w.Content.Hide(marks); err != nil {
		return w, err
	}
	w.Redacted = append(w.Redacted, paths...)
	for i := range w.Revisions {
		r := &w.Revisions[i]
		r.Header, r.Redacted = view.HideHeader(r.Header)
		if r.Content, paths, err = r.Content.Hide(marks); err != nil {
			return w, err
		}
		r.Redacted = append(r.Redacted, paths...)
	}
	return w, nil
}

// lifeOf is what happened to a message, in its order.
func lifeOf(l store.Letter, acts []store.Act) []momentView {
	life := []momentView{
		{At: l.SentAt.UTC(), What: "sent", Detail: l.Queue},
		{At: l.DiedAt.UTC(), What: "died", Detail: l.Reason},
	}
	for _, a := range l.Attempts {
		life = append(life, momentView{
			At: a.Started.UTC(), What: "attempt", By: a.Worker, Number: a.Number, Class: string(a.Class), Detail: a.Error,
		})
	}
	for _, a := range acts {
		life = append(life, momentView{At: a.At.UTC(), What: string(a.Verb), By: a.Actor, Detail: a.Reason})
	}
	slices.SortStableFunc(life, func(a, b momentView) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Number, b.Number))
	})
	return life
}

func (c *call) showBody() error {
	l, err := c.letter(false, true)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", tagOf(l))
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="body"`) // no browser shows it
	_, _ = c.w.Write(l.Body)                                    // whoever asked has gone
	return nil
}

// doing says by what the letters of a call were chosen, and why.
func (c *call) doing(filter, reason string) context.Context {
	return store.Acting(c.ctx, store.Act{Filter: filter, Reason: reason})
}
