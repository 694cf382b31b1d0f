package failure

import (
	"cmp"
	"context"

	"github.com/posthorn/posthorn/store"
)

// Search lists dead letters as store.LetterPage does. Where no index leads to what the
// filter wants, it goes on by itself, in steps of which the filter's Reach and Within are
// the bounds, until the page is full or all letters were looked through. After each step
// tell, unless it is nil, hears of the page so far. When ctx ends, or the store fails, the
// page has what was found before that, and Searched and Next say where it is to go on.
func Search(
	ctx context.Context, st *store.Store, f store.LetterFilter, tell func(store.LetterPage),
) (all store.LetterPage, err error) {
	limit := cmp.Or(f.Limit, pageOf)
	if f, err = st.Bound(ctx, f); err != nil {
		return all, err
	}
	for {
		page, err := st.LetterPage(ctx, f)
		if err != nil {
			return all, err
		}
		all.Letters, all.Next = append(all.Letters, page.Letters...), page.Next
		if page.Searched == 0 {
			all.Searched = 0
			return all, nil
		}
		all.Searched += page.Searched
		if len(all.Letters) >= limit {
			return all, nil
		}
		f.Past, f.Limit = page.Next, limit-len(all.Letters)
		if tell != nil {
			tell(all)
		}
	}
}

// pageOf is how many letters a page has if its filter names no limit, as the store's.
const pageOf = 100

// A Rest is how many letters follow a page.
type Rest struct {
	store.LetterTotal
	// Unsearched: the search ended before the page was full, and these are all the letters
	// that it would have looked through, whether they fit or not.
	Unsearched bool
}

// restMost is how many letters are counted that follow a page.
const restMost = 10_000

// RestOf counts what follows a page that a filter chose, up to 10,000. The filter's bounds
// of a search are those of the count, too.
func RestOf(ctx context.Context, st *store.Store, f store.LetterFilter, p store.LetterPage) (r Rest, err error) {
	if p.Next == 0 {
		r.Exact = true
		return r, nil
	}
	if r.Unsearched = p.Searched > 0; r.Unsearched {
		f = f.Wide()
	}
	f.Past = p.Next
	r.LetterTotal, err = st.TotalLetters(ctx, f, restMost)
	return r, err
}
