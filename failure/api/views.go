package api

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// lettersOf shows letters without their bodies and secrets.
func lettersOf(ls []store.Letter) []view.Letter {
	vs := make([]view.Letter, len(ls))
	for i, l := range ls {
		vs[i] = view.OfLetter(l).Hide()
	}
	return vs
}

// revisionView is what a letter was before an edit.
type revisionView struct {
	Number int               `json:"number"`
	At     time.Time         `json:"replaced_at"`
	Actor  string            `json:"actor"`
	Header map[string]string `json:"header,omitempty"`
	view.Content
	Redacted []string `json:"redacted,omitempty"`
}

// momentView is something that happened to a message.
type momentView struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`             // sent, attempt, died or the verb of an act
	By     string    `json:"by,omitempty"`     // a worker, or who acted
	Number int       `json:"number,omitempty"` // of an attempt
	Class  string    `json:"class,omitempty"`  // of an attempt
	Detail string    `json:"detail,omitempty"`
}

// tagOf is the entity tag of a letter's version: an id may die again, and be edited.
func tagOf(l store.Letter) string { return fmt.Sprintf("\"%d-%d\"", l.Seq, l.Revision) }
