package failure

import (
	"cmp"
	"context"
	"slices"

	"github.com/posthorn/posthorn/store"
)

// namedAtOnce is of how many ids one statement asks.
const namedAtOnce = 500

// Named finds the letters that have some ids, the dead or the removed ones, without their
// bodies: in the order of their ids, and several of one id in the order in which they died.
// Missing are the ids that none has.
func Named(
	ctx context.Context, st *store.Store, ids []string, discarded bool,
) (ls []store.Letter, missing []string, err error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for part := range slices.Chunk(ids, namedAtOnce) {
		f := store.LetterFilter{IDs: part, Discarded: discarded, Limit: 2 * namedAtOnce, Bare: true}
		for more := true; more; more = f.Past > 0 {
			page, err := st.LetterPage(ctx, f)
			if err != nil {
				return nil, nil, err
			}
			ls, f.Past = append(ls, page.Letters...), page.Next
		}
	}
	slices.SortStableFunc(ls, func(a, b store.Letter) int { return cmp.Compare(a.ID, b.ID) })
	for _, id := range ids {
		_, found := slices.BinarySearchFunc(ls, id, func(l store.Letter, id string) int { return cmp.Compare(l.ID, id) })
		if !found {
			missing = append(missing, id)
		}
	}
	return ls, missing, nil
}
