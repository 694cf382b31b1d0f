package hotpath_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// letters is how many dead letters BenchmarkLetters looks through: HOTPATH_LETTERS, or
// 20,000.
func letters() int {
	if n, err := strconv.Atoi(os.Getenv("HOTPATH_LETTERS")); err == nil && n > 0 {
		return n
	}
	return 20_000
}

// fillLetters makes n dead letters of 100 faults, one of which has a tenth of them, and
// one in ten thousand is a panic. They died within the last day.
func fillLetters(b testing.TB, s *store.Store, n int) {
	b.Helper()
	numbers, text := fmt.Sprintf("(select seq as i from seq_1_to_%d) n", n), func(s string) string { return s }
	with := ""
	switch s.Dialect() {
	case "sqlite":
		with = fmt.Sprintf("with recursive n(i) as (select 1 union all select i + 1 from n where i < %d) ", n)
		numbers, text = "n", func(s string) string { return "cast(" + s + " as blob)" }
	case "postgres":
		numbers = fmt.Sprintf("generate_series(1, %d) i", n)
		text = func(s string) string { return "convert_to(" + s + ", 'UTF8')" }
	}
	died := fmt.Sprintf("%d + i * %d", time.Now().Add(-23*time.Hour).UnixMilli(), max(1, 23*3600*1000/n))
	stmt := with + `insert into posthorn_letter (id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at,
		  reason, class, error, fingerprint, error_type, build, body)
		select concat('m', i), concat('kind', i % 100 % 7), concat('q', i % 3), 0, 3, 4, 0, ` + died + `, ` + died + `,
		  'retries_exhausted', case when i % 10000 = 0 then 'panic' else 'failure' end, concat('no such user ', i),
		  case when i % 10 = 0 then 'f' else concat('f', i % 100) end, '*pgconn.PgError', 'b1',
		  ` + text(`concat('{"text":"`+newNote().Text+`","order_id":', i, '}')`) + ` from ` + numbers
	stmts := []string{stmt}
	switch s.Dialect() {
	case "postgres":
		stmts = append(stmts, "vacuum analyze posthorn_letter")
	case "mysql":
		stmts = append(stmts, "analyze table posthorn_letter")
	}
	for _, stmt := range stmts {
		if _, err := s.DB().ExecContext(b.Context(), stmt); err != nil {
			b.Fatal(err)
		}
	}
}

// looks are what is asked of many dead letters, as the command line and the API ask it.
func looks(n int) map[string]store.LetterFilter {
	last := []string{strconv.Itoa(n - 1)}
	payload := store.Term{Field: store.FieldPayload, Path: "order_id", Op: store.OpIs, Values: last}
	has := func(text string) store.Term {
		return store.Term{Field: store.FieldError, Op: store.OpHas, Values: []string{text}}
	}
	now := time.Now()
	fs := map[string]store.LetterFilter{
		"page":                 {},
		"page of a group":      {Group: "f17"},
		"last page of group":   {Group: "f", Past: int64(n - 2000)},
		"page of a kind":       {Kind: "kind3", Queue: "q1"},
		"page of a class":      {Class: "panic"},
		"page of a reason":     {Reason: "rejected"},
		"page of a time":       {After: now.Add(-time.Hour)},
		"page of half a day":   {After: now.Add(-12 * time.Hour)},
		"page of a kind, time": {Kind: "kind3", After: now.Add(-time.Hour)},
		"page of a text":       {Terms: []store.Term{has("user 999")}},
		"page of no such text": {Terms: []store.Term{has("nowhere")}},
		"one by its payload":   {Terms: []store.Term{payload}},
	}
	for name, f := range fs {
		f.Bare, f.Within = true, 50*time.Millisecond
		fs[name] = f
	}
	return fs
}

// BenchmarkLetters looks through many dead letters, as operators do.
func BenchmarkLetters(b *testing.B) {
	for _, k := range kinds() {
		b.Run(k.name, func(b *testing.B) {
			s, err := open.Store(b.Context(), k.address(b), store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			fillLetters(b, s, letters())
			lookAll(b, s)
		})
	}
}

func lookAll(b *testing.B, s *store.Store) {
	b.Run("groups", func(b *testing.B) {
		for b.Loop() {
			if gs, _, err := failure.Groups(b.Context(), s, failure.GroupFilter{}); err != nil || len(gs) != 91 {
				b.Fatal(len(gs), err)
			}
		}
	})
	for name, f := range looks(letters()) {
		b.Run(name, func(b *testing.B) { look(b, s, f) })
	}
	for _, by := range store.Facets() {
		b.Run("by "+string(by), func(b *testing.B) { countBy(b, s, by) })
	}
}

func countBy(b *testing.B, s *store.Store, by store.Facet) {
	for b.Loop() {
		if cs, err := s.CountBy(b.Context(), by, store.LetterFilter{}); err != nil || len(cs) == 0 {
			b.Fatal(cs, err)
		}
	}
}

// look reads one page, and tells how many letters it went through where it ended short.
func look(b *testing.B, s *store.Store, f store.LetterFilter) {
	searched, pages := 0, 0
	for ; b.Loop(); pages++ {
		page, err := s.LetterPage(b.Context(), f)
		if err != nil {
			b.Fatal(page, err)
		}
		searched += page.Searched
	}
	if searched > 0 {
		b.ReportMetric(float64(searched)/float64(pages), "letters")
	}
}
