package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/store"
)

// askew makes letters whose times do not grow with their sequences, as an import does.
func askew(t *testing.T, s *store.Store, n int) {
	t.Helper()
	var ds []dead
	for i := range n {
		ds = append(ds, dead{
			id: fmt.Sprint("m", i), kind: fmt.Sprint("k", i%3), class: []string{"failure", "panic"}[i%2],
			text: fmt.Sprint("no user ", i), body: fmt.Sprintf(`{"n":%d}`, i),
		})
	}
	buryAll(t, s, ds...)
	for i := range n {
		stmt := fmt.Sprintf("update posthorn_letter set died_at = %d, error_type = 't%d' where id = 'm%d'",
			1000+(i*7)%n, i%4, i)
		if _, err := s.DB().ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
}

// wanted are the ids that a filter of times, kind and class chooses among those of askew.
func wanted(f store.LetterFilter, n int) string {
	var out []string
	for i := range n {
		died := time.UnixMilli(int64(1000 + (i*7)%n))
		if !f.After.IsZero() && died.Before(f.After) || !f.Before.IsZero() && !died.Before(f.Before) ||
			f.Kind != "" && f.Kind != fmt.Sprint("k", i%3) ||
			f.Class != "" && f.Class != []string{"failure", "panic"}[i%2] || len(fitting(f.Terms, i)) < len(f.Terms) {
			continue
		}
		out = append(out, fmt.Sprint("m", i))
	}
	return strings.Join(out, " ")
}

// fitting are the terms that the letter of askew with a number fits.
func fitting(ts []store.Term, i int) (out []store.Term) {
	for _, t := range ts {
		field := map[string]string{
			"error": fmt.Sprint("no user ", i), "type": fmt.Sprint("t", i%4), "kind": fmt.Sprint("k", i%3),
			"class": []string{"failure", "panic"}[i%2], "queue": "q",
		}[t.Field]
		fits := slices.Contains(t.Values, field)
		if t.Op == store.OpHas {
			fits = strings.Contains(field, t.Values[0])
		}
		if fits != t.Not {
			out = append(out, t)
		}
	}
	return out
}

// aWord is a term, by which letters have an index unless it is negated or has two values.
func aWord(t *rapid.T) store.Term {
	w := rapid.SampledFrom([]store.Term{
		term("type", store.OpIs, "t3"), term("type", store.OpIs, "none"), term("type", store.OpIs, "t0", "t1"),
		term("class", store.OpIs, "panic"), term("kind", store.OpIs, "k2"), term("queue", store.OpIs, "q"),
	}).Draw(t, "word")
	w.Not = rapid.Bool().Draw(t, "not")
	return w
}

func aFilter(t *rapid.T, n int) (f store.LetterFilter) {
	at := rapid.Int64Range(995, int64(1005+n))
	if rapid.Bool().Draw(t, "after") {
		f.After = time.UnixMilli(at.Draw(t, "since"))
	}
	if rapid.Bool().Draw(t, "before") {
		f.Before = time.UnixMilli(at.Draw(t, "until"))
	}
	f.Kind = rapid.SampledFrom([]string{"", "k1", "none"}).Draw(t, "kind")
	f.Class = rapid.SampledFrom([]string{"", "panic"}).Draw(t, "class")
	if rapid.Bool().Draw(t, "terms") {
		f.Terms = []store.Term{term("error", store.OpHas, rapid.SampledFrom([]string{"1", "user 2", "x"}).Draw(t, "text"))}
	}
	for range rapid.IntRange(0, 2).Draw(t, "words") {
		f.Terms = append(f.Terms, aWord(t))
	}
	f.Limit = rapid.IntRange(1, 9).Draw(t, "limit")
	f.Reach = rapid.SampledFrom([]int{0, 1, 4}).Draw(t, "reach")
	f.Within = rapid.SampledFrom([]time.Duration{0, 1, time.Hour}).Draw(t, "within")
	f.Bare = rapid.Bool().Draw(t, "bare")
	return f
}

// Whatever leads to them, pages and counts have the letters that the filter says: no
// bound of a search, and no order of the times, leaves one out or shows one twice.
func TestPagesAndCountsHaveWhatTheFilterSays(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const n = 40
		askew(t, s, n)
		rapid.Check(t, func(r *rapid.T) {
			f := aFilter(r, n)
			want := wanted(f, n)
			if got := chosen(t, s, f); got != want {
				r.Errorf("%+v: %q, want %q", f, got, want)
			}
			f.Reach, f.Within = 0, time.Duration(rapid.SampledFrom([]int64{0, int64(time.Hour)}).Draw(r, "bound"))
			total := store.LetterTotal{N: int64(len(strings.Fields(want))), Exact: true}
			if got, err := s.TotalLetters(t.Context(), f, 0); err != nil || got != total {
				r.Errorf("%+v: counted %+v, %v, want %+v", f, got, err, total)
			}
		})
		f := store.LetterFilter{After: time.UnixMilli(1010), Before: time.UnixMilli(1020)}
		o := advance(t, s, start(t, s, store.Operation{Action: store.ActionRemove, Filter: f}))
		if f.Discarded = true; o.State != store.OperationDone || chosen(t, s, f) != wanted(f, n) {
			t.Errorf("%s: removed %q, want %q", tally(o), chosen(t, s, f), wanted(f, n))
		}
		f.Discarded = false
		if got := chosen(t, s, f); got != "" {
			t.Errorf("%q are left", got)
		}
	})
}

// lookups are statements of lists and counts, as they are built from filters, and the index
// that has to lead them.
func lookups() map[string][2]string {
	const dead = "discarded_at is null and "
	page := "select seq, body from posthorn_letter where " + dead
	return map[string][2]string{
		"class":  {page + "seq > 0 and class = 'panic' order by seq limit 101", "posthorn_letter_class"},
		"kind":   {page + "seq > 0 and kind = 'rare' order by seq limit 101", "posthorn_letter_kind"},
		"queue":  {page + "seq > 0 and queue = 'rare' order by seq limit 101", "posthorn_letter_queue"},
		"type":   {page + "seq > 0 and error_type = '*rare' order by seq limit 101", "posthorn_letter_type"},
		"group":  {page + "seq > 0 and fingerprint = 'f1' order by seq limit 101", "posthorn_letter_group"},
		"times":  {"SPAN where " + dead + "died_at >= 5000 and died_at < 6000 limit 100000) t", "posthorn_letter_died"},
		"window": {"select seq from posthorn_letterBYSEQ where seq > 0 order by seq limit 1 offset 1999", ""},
		"removed": {"select seq, body from posthorn_letterBYSEQ where seq > 0 and seq <= 2000 and discarded_at is not null " +
			"and kind = 'rare' order by seq limit 101", ""},
		"hours": {"HOURS", "posthorn_letter_died"},
		"day":   {"DAY", "posthorn_letter_died"},
		"counts": {"select class, count(*), min(died_at), max(died_at) from posthorn_letter where " +
			"discarded_at is null group by 1", "posthorn_letter_class"},
		"types": {"select error_type, count(*), min(died_at), max(died_at) from posthorn_letter where " +
			"discarded_at is null group by 1", "posthorn_letter_type"},
		"purge": {"select seq from posthorn_letter where died_at < 900 order by died_at limit 500", "posthorn_letter_died"},
	}
}

func TestAnIndexLeadsToWhatAFilterSays(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		manyLetters(t, s)
		for name, l := range lookups() {
			hours := strings.ReplaceAll(s.SQL.HourBounds, "?", "5000")
			day := fmt.Sprintf(strings.NewReplacer("%[1]s", "discarded_at is null", "?", "%d").Replace(s.SQL.LetterDay),
				5000, 6000, 5000, 6000, 6000, 1<<50)
			stmt := strings.NewReplacer("SPAN", s.SQL.LetterSpan, "BYSEQ", s.SQL.BySeq, "HOURS", hours, "DAY", day).Replace(l[0])
			plan := planOf(t, s, stmt)
			if !strings.Contains(plan, l[1]) || strings.Contains(plan, "filesort") || strings.Contains(plan, "Seq Scan") ||
				strings.Contains(plan, "SCAN posthorn_letter\n") {
				t.Errorf("%s does not use %s:\n%s", name, l[1], plan)
			}
		}
	})
}

// Of removed letters no index has a list: a search for some ends by its bounds all the same.
func TestASearchForRemovedLettersLooksAtNoMoreThanItMay(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const n = 40
		askew(t, s, n)
		_, err := s.RemoveLetters(t.Context(), letterOf(t, s, "m35").Seq)
		try(t, err)
		for _, f := range []store.LetterFilter{{}, {Kind: "k2"}} {
			f.Discarded, f.Reach = true, 10
			page, err := s.LetterPage(t.Context(), f)
			if err != nil || len(page.Letters) != 0 || page.Searched != 10 || page.Next == 0 {
				t.Errorf("%+v: %+v, %v; want to be told to go on after 10", f, page, err)
			}
			if got := chosen(t, s, f); got != "m35" {
				t.Errorf("%+v: %q, want m35", f, got)
			}
		}
	})
}

// manyLetters writes letters of which each word chooses some.
func manyLetters(t *testing.T, s *store.Store) {
	t.Helper()
	with, numbers := "", "(select seq as i from seq_1_to_8000) n"
	switch s.Dialect() {
	case "sqlite":
		with, numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 8000) ", "n"
	case "postgres":
		numbers = "generate_series(1, 8000) i"
	}
	stmts := []string{with + `insert into posthorn_letter (id, kind, queue, priority, attempt, deliveries, crashes,
		  sent_at, died_at, reason, class, error, fingerprint, error_type, body)
		select concat('m', i), case when i % 400 = 1 then 'rare' else 'k' end,
		  case when i % 400 = 2 then 'rare' else 'q' end, 0, 1, 1, 0, i, i, 'r',
		  case when i % 500 = 0 then 'panic' else 'failure' end, 'e', concat('f', i % 50),
		  case when i % 400 = 3 then '*rare' else '*often' end, '` +
		strings.Repeat("x", 300) + `' from ` + numbers}
	if s.Dialect() != "sqlite" {
		stmts = append(stmts, map[string]string{
			"mysql": "analyze table posthorn_letter", "postgres": "vacuum analyze posthorn_letter",
		}[s.Dialect()])
	}
	for _, stmt := range stmts {
		if _, err := s.DB().ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
}

// planOf is how the database would run a statement.
func planOf(t *testing.T, s *store.Store, stmt string) string {
	t.Helper()
	explain := map[string]string{"sqlite": "explain query plan "}[s.Dialect()]
	if explain == "" {
		explain = "explain "
	}
	rows, err := s.DB().QueryContext(t.Context(), explain+stmt)
	if err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		values, into := make([][]byte, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if columns[i] != "possible_keys" {
				fmt.Fprintf(&out, "%s ", v)
			}
		}
		out.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
