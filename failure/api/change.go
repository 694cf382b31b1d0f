package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// mostAtOnce is how many letters a request changes. What is more is an operation's work.
const mostAtOnce = 100

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
	Missing []string `json:"missing"` // no such letter, or it had gone
}

// A change changes some letters by their numbers, all or none.
type change func(ctx context.Context, seqs ...int64) (int, error)

func (c *call) retryLetters() error   { return c.plainly(false, c.store.RetryLetters) }
func (c *call) removeLetters() error  { return c.plainly(false, c.store.RemoveLetters) }
func (c *call) restoreLetters() error { return c.plainly(true, c.store.RestoreLetters) }

// plainly does a change that can be taken back.
func (c *call) plainly(discarded bool, do change) error {
	n, err := c.naming()
	if err != nil {
		return err
	}
	if n.Confirm != "" || n.Discarded {
		return usage("confirm and discarded are for purges")
	}
	n.Discarded = discarded
	ls, missing, err := c.named(n)
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
	ls, missing, err := c.named(n)
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
	return c.change(n, c.store.PurgeLetters, ls, missing)
}

// naming reads which letters are meant.
func (c *call) naming() (n naming, err error) {
	if err := c.read(&n); err != nil {
		return n, err
	}
	n.IDs = slices.Compact(slices.Sorted(slices.Values(n.IDs)))
	if len(n.IDs) == 0 || len(n.IDs) > mostAtOnce {
		return n, usage(fmt.Sprintf("name 1 to %d ids; for more, start an operation", mostAtOnce))
	}
	return n, nil
}

// named finds the letters. Several may have the same id.
func (c *call) named(n naming) (ls []store.Letter, missing []string, err error) {
	ls, err = c.store.Letters(c.ctx, store.LetterFilter{
		IDs: n.IDs, Discarded: n.Discarded, Limit: maxPage, Bare: true,
	})
	for _, id := range n.IDs {
		if !slices.ContainsFunc(ls, func(l store.Letter) bool { return l.ID == id }) {
			missing = append(missing, id)
		}
	}
	return ls, missing, err
}

// change changes letters together, or each alone when one of them cannot be.
func (c *call) change(n naming, do change, ls []store.Letter, missing []string) error {
	if len(ls) == 0 {
		return nothing("no such dead letter", fmt.Sprintf("%q", missing))
	}
	ctx := c.doing("", n.Reason)
	seqs := make([]int64, len(ls))
	for i, l := range ls {
		seqs[i] = l.Seq
	}
	out := changedView{Clashed: []string{}, Missing: append([]string{}, missing...)}
	var err error
	if out.Changed, err = do(ctx, seqs...); errors.Is(err, driver.ErrDuplicate) {
		err = out.each(ctx, do, ls)
	}
	switch {
	case err != nil && out.Changed == 0:
		return err
	case err != nil:
		p := problemOf(err)
		p.Detail = fmt.Sprintf("%d of %d were changed before: %s", out.Changed, len(ls), p.Detail)
		return p
	case out.Changed == 0 && len(out.Clashed) > 0:
		return fmt.Errorf("%w: %q", driver.ErrDuplicate, out.Clashed)
	case out.Changed == 0:
		return nothing("no such dead letter any more", fmt.Sprintf("%q", n.IDs))
	}
	return c.answer(http.StatusOK, out)
}

// each changes letters one by one.
func (v *changedView) each(ctx context.Context, do change, ls []store.Letter) error {
	for _, l := range ls {
		n, err := do(ctx, l.Seq)
		switch {
		case errors.Is(err, driver.ErrDuplicate):
			v.Clashed = append(v.Clashed, l.ID)
		case err != nil:
			return err
		case n == 0:
			v.Missing = append(v.Missing, l.ID)
		}
		v.Changed += n
	}
	return nil
}
