package api

import (
	"errors"
	"mime"
	"net/http"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// The types of patches.
const (
	typePatch = "application/json-patch+json"
	typeMerge = "application/merge-patch+json"
)

// editedView is what became of an edit.
type editedView struct {
	ID      string `json:"id"`
	Edits   int    `json:"edits"`
	Changed bool   `json:"changed"` // else the new version is the old one
	Retried bool   `json:"retried"`
}

func (c *call) patchLetter() error {
	patch, err := c.content(maxEdit, typePatch, typeMerge)
	if err != nil {
		return err
	}
	return c.edit(func(v failure.Version) (failure.Version, error) {
		if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind == typeMerge { // it was checked
			return v.Merge(patch)
		}
		return v.Patch(patch)
	})
}

func (c *call) putBody() error {
	body, err := c.content(maxEdit, "application/octet-stream", "application/json")
	if err != nil {
		return err
	}
	return c.edit(func(v failure.Version) (failure.Version, error) {
		v.Body = body
		return v, nil
	})
}

// edit saves a new version of the letter that the request has seen.
func (c *call) edit(make func(failure.Version) (failure.Version, error)) error {
	q := c.r.URL.Query()
	retry, err := boolOf(q, "retry")
	if err != nil {
		return err
	}
	unchecked, err := boolOf(q, "unchecked")
	if err != nil {
		return err
	}
	l, err := c.seen()
	if err != nil {
		return err
	}
	old := failure.VersionOf(l)
	edited, err := make(old)
	if err != nil {
		return &problem{Status: http.StatusUnprocessableEntity, Code: "E-EDIT", Title: "cannot make the new version",
			Detail: err.Error(), Try: "correct it; nothing was saved"}
	}
	if edited.Equal(old) {
		return c.unedited(l, retry)
	}
	if err := edited.Check(c.mux, l.Kind); err != nil && (!unchecked || !errors.Is(err, failure.ErrUncheckable)) {
		return err
	}
	err = c.store.EditLetter(c.ctx, store.Edit{
		Seq: l.Seq, Revision: l.Revision, Header: edited.Header, Body: edited.Body, Retry: retry,
	})
	if err != nil {
		return err
	}
	l.Revision++
	return c.edited(l, editedView{Changed: true, Retried: retry})
}

// unedited leaves a letter as it is, or as that puts it back: no handler is asked, and no
// revision is made of what stays.
func (c *call) unedited(l store.Letter, retry bool) error {
	if retry {
		if err := c.store.RetryVersion(c.ctx, l.Seq, l.Revision); err != nil {
			return err
		}
	}
	return c.edited(l, editedView{Retried: retry})
}

// edited answers what became of a letter, with the tag of its version if it is one still.
func (c *call) edited(l store.Letter, out editedView) error {
	if out.ID, out.Edits = l.ID, l.Revision; !out.Retried {
		c.w.Header().Set("ETag", tagOf(l))
	}
	return c.answer(http.StatusOK, out)
}

// seen is the dead letter, if it is still the version that who asks has seen.
func (c *call) seen() (l store.Letter, err error) {
	want := c.r.Header.Get("If-Match")
	if want == "" || want == "*" {
		return l, &problem{
			Status: http.StatusPreconditionRequired, Code: "E-PRECONDITION", Title: "it is not said which version is edited",
			Detail: "If-Match is to have the ETag of the letter",
		}
	}
	if l, err = c.letter(false); err != nil {
		return l, err
	}
	if tagOf(l) != want {
		return l, store.ErrChanged
	}
	return l, nil
}
