package failure

import (
	"cmp"
	"context"
	"fmt"

	"github.com/posthorn/posthorn/store"
)

// Where says where a message is now that is no dead letter, or none that was removed, and
// what was done to it last: for whoever looked for a letter of this id and found none. Its
// Name is the place, empty for a message that is done or was never known; Command is what
// to run about it. It reads only.
func Where(ctx context.Context, st *store.Store, id string) (Reason, error) {
	p, err := st.Find(ctx, id)
	if err != nil {
		return Reason{}, err
	}
	acts, err := st.Acts(ctx, store.ActFilter{Message: id, Limit: 1})
	if err != nil {
		return Reason{}, err
	}
	r := whereabouts(id, p)
	if len(acts) > 0 {
		r.Text += "; " + ActText(acts[0])
	}
	return r, nil
}

// whereabouts words a place.
func whereabouts(id string, p *store.Position) Reason {
	if p == nil {
		return Reason{Text: "it is done, or was never known here", Command: "audit list --message " + id}
	}
	r := Reason{Name: string(p.Place), Command: "why " + id}
	switch p.Place {
	case store.PlaceReady, store.PlaceSuspect:
		r.Text = "it waits on queue " + p.Queue
	case store.PlaceDelayed:
		r.Text = fmt.Sprintf("it waits on queue %s until %s", p.Queue, moment(p.Due))
	case store.PlaceLeased:
		r.Text = fmt.Sprintf("worker %s has it in hand, of queue %s", p.Worker, p.Queue)
	case store.PlaceRemoved:
		r.Text, r.Command = "it was removed at "+moment(p.Letter.Discarded), "failed restore "+id
	case store.PlaceDead:
		r.Text, r.Command = "it is a dead letter, and was not removed", "failed show "+id
	}
	return r
}

// ActText words who did what, and when.
func ActText(a store.Act) string {
	text := fmt.Sprintf("%s by %s at %s", a.Verb, cmp.Or(a.Actor, "a program that did not say"), moment(a.At))
	if a.Reason != "" {
		text += " (" + a.Reason + ")"
	}
	return text
}
