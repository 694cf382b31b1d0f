package api

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// naming names letters that are to be changed.
type naming struct {
	IDs       []string `json:"ids"`
	Reason    string   `json:"reason"`
	Confirm   string   `json:"confirm"`   // of a purge: the id, or "purge" and how many
	Discarded bool     `json:"discarded"` // of a purge: those that were removed already
}

// changedView is what became of letters that were to be changed.
type changedView struct {
	Changed int      `json:"changed"`
	Clashed []string `json:"clashed"` // a live message, or another letter, has the id
	// Missing are no such letters. Those that have gone since they were looked up are among
	// them where each was tried alone: see failure.Changed.
	Missing []string `json:"missing"`
}

func (c *call) retryLetters() error {
	return c.plainly(change{store.ActionRetry, c.store.RetryLetters})
}

func (c *call) removeLetters() error {
	return c.plainly(change{store.ActionRemove, c.store.RemoveLetters})
}

func (c *call) restoreLetters() error {
	return c.plainly(change{store.ActionRestore, c.store.RestoreLetters})
}

// A change is what is done to letters.
type change struct {
	action store.Action // empty: a purge
	do     failure.Change
}

// plainly does a change that can be taken back.
func (c *call) plainly(do change) error {
	n, err := c.naming()
	if err != nil {
		return err
	}
	if n.Confirm != "" || n.Discarded {
		return usage("confirm and discarded are for purges")
	}
	n.Discarded = do.action == store.ActionRestore
	ls, missing, err := failure.Named(c.ctx, c.store, n.IDs, n.Discarded)
	if err != nil {
		return err
	}
	return c.change(n, do, ls, missing)
}

func (c *call) purgeLetters() error {
	n, err := c.naming()
	if err != nil {
		return err
	}
	ls, missing, err := failure.Named(c.ctx, c.store, n.IDs, n.Discarded)
	if err != nil {
		return err
	}
	word := fmt.Sprintf("purge %d", len(ls))
	if len(ls) == 1 {
		word = ls[0].ID
	}
	if len(ls) > 0 && n.Confirm != word {
		return &problem{
			Status: http.StatusUnprocessableEntity, Code: "E-CONFIRM", Title: "not confirmed", Detail: "nothing was changed",
			Try: fmt.Sprintf("confirm by %q", word),
		}
	}
	return c.change(n, change{do: c.store.PurgeLetters}, ls, missing)
}

// naming reads which letters are meant.
func (c *call) naming() (n naming, err error) {
	if err := c.read(&n); err != nil {
		return n, err
	}
	n.IDs = slices.Compact(slices.Sorted(slices.Values(n.IDs)))
	if len(n.IDs) == 0 || len(n.IDs) > failure.AtOnce {
		return n, usage(fmt.Sprintf("name 1 to %d ids; for more, start an operation", failure.AtOnce))
	}
	return n, nil
}

// change changes letters together, or each alone when one of them cannot be.
func (c *call) change(n naming, do change, ls []store.Letter, missing []string) error {
	if len(ls) == 0 {
		return nothing("no such dead letter", fmt.Sprintf("%q", missing))
	}
	seqs, ids := make([]int64, len(ls)), make(map[int64]string, len(ls))
	for i, l := range ls {
		seqs[i], ids[l.Seq] = l.Seq, l.ID
	}
	did, err := do.do.Apply(c.doing("", n.Reason), seqs...)
	out := changedView{Changed: did.Done, Clashed: []string{}, Missing: append([]string{}, missing...)}
	for _, seq := range did.Clashed {
		out.Clashed = append(out.Clashed, ids[seq])
	}
	for _, seq := range did.Gone {
		out.Missing = append(out.Missing, ids[seq])
	}
	switch {
	case err != nil && out.Changed == 0:
		return err
	case err != nil:
		p := problemOf(err)
		p.Detail = fmt.Sprintf("%d of %d were changed before: %s", out.Changed, len(ls), p.Detail)
		return p
	case out.Changed == 0 && len(out.Clashed) > 0:
		p := problemOf(driver.ErrDuplicate)
		p.Detail = fmt.Sprintf("%s has the same id: %q", failure.Taker(do.action), out.Clashed)
		return p
	case out.Changed == 0:
		return nothing("no such dead letter any more", fmt.Sprintf("%q", n.IDs))
	}
	return c.answer(http.StatusOK, out)
}
