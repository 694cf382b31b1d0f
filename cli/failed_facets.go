package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/store"
)

// facetRow counts dead letters by what they have in common, as output shows it.
type facetRow struct {
	By    store.Facet `json:"by"`
	Value string      `json:"value"`
	Count int64       `json:"count"`
	First time.Time   `json:"first_seen_at"`
	Last  time.Time   `json:"last_seen_at"`
}

// facetNames are the values of --by, as people read them.
func facetNames() string {
	names := strings.Fields(strings.Trim(fmt.Sprint(store.Facets()), "[]"))
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// listFacets lists dead letters by something else than their fault.
func (s *session) listFacets(ctx context.Context, by store.Facet, f store.LetterFilter, as string) error {
	if !slices.Contains(store.Facets(), by) {
		return usage("--by "+string(by)+" is none", facetNames())
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if err := knownClass(ctx, st, f); err != nil {
		return err
	}
	counts, err := st.CountBy(ctx, by, f)
	if err != nil {
		return err
	}
	rows := make([]facetRow, len(counts))
	for i, c := range counts {
		rows[i] = facetRow{By: by, Value: c.Value, Count: c.Count, First: c.First.UTC(), Last: c.Last.UTC()}
	}
	if len(rows) == store.MaxFacetCounts {
		s.say("only the %d most frequent are shown\n", len(rows))
	}
	return show(s, as, facetListing(by, rows))
}

func facetListing(by store.Facet, rows []facetRow) listing[facetRow] {
	heads := map[store.Facet]string{store.FacetError: "TYPE OF ERROR", store.FacetDay: "DAY (UTC)"}
	return listing[facetRow]{
		kind: "FailedCounts", rows: rows, name: func(r facetRow) string { return r.Value },
		columns: []column[facetRow]{
			{head: cmp.Or(heads[by], strings.ToUpper(string(by))), flex: true, cell: func(r facetRow) string {
				return cmp.Or(r.Value, "(none)")
			}},
			{head: "COUNT", right: true, cell: func(r facetRow) string { return strconv.FormatInt(r.Count, 10) }},
			when("FIRST SEEN", func(r facetRow) time.Time { return r.First }).yielding(2),
			when("LAST SEEN", func(r facetRow) time.Time { return r.Last }).yielding(1),
		},
	}
}
