package api

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// groupList is all groups that were asked for.
type groupList struct {
	Items []view.Group `json:"items"`
}

func (c *call) listGroups() error {
	q := c.r.URL.Query()
	f := failure.GroupFilter{Kind: q.Get("kind"), Class: driver.Class(q.Get("class"))}
	var err error
	if f.All, err = boolOf(q, "all"); err != nil {
		return err
	}
	for _, state := range q["state"] {
		if !slices.Contains(store.GroupStates(), store.GroupState(state)) {
			return usage(fmt.Sprintf("no group is %q", state))
		}
		f.States = append(f.States, store.GroupState(state))
	}
	gs, _, err := failure.Groups(c.ctx, c.store, f)
	if err != nil {
		return err
	}
	list := groupList{Items: make([]view.Group, len(gs))}
	for i, g := range gs {
		list.Items[i] = view.OfGroup(g)
	}
	return c.answer(http.StatusOK, list)
}

func (c *call) showGroup() error {
	g, err := failure.FindGroup(c.ctx, c.store, c.r.PathValue("fingerprint"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view.OfGroup(g))
}

// changeGroup says something of a group: its state, its note, or both.
func (c *call) changeGroup() error {
	var said struct {
		State *store.GroupState `json:"state"`
		Note  *string           `json:"note"`
	}
	if err := c.read(&said); err != nil {
		return err
	}
	if said.State == nil && said.Note == nil {
		return usage("give a state, a note, or both")
	}
	g, err := failure.FindGroup(c.ctx, c.store, c.r.PathValue("fingerprint"))
	if err != nil {
		return err
	}
	change := store.GroupChange{State: said.State, Note: said.Note}
	if _, _, err = c.store.ChangeGroup(c.ctx, g.Fingerprint, change); err != nil {
		return err
	}
	return c.showGroup()
}
