package torture

import (
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/runs"
	"github.com/posthorn/posthorn/torture/oracle"
)

// A Report is what a run found.
type Report struct {
	Seed       uint64            `json:"seed"`
	Store      string            `json:"store"`
	Private    bool              `json:"private"`
	Durability driver.Durability `json:"durability"`
	Seconds    float64           `json:"seconds"`
	PerSecond  float64           `json:"per_second"` // effects, over the whole run
	Messages   Messages          `json:"messages"`
	Operations Operations        `json:"operations"`
	Crew       CrewCounts        `json:"processes"`
	CutBefore  int               `json:"commits_cut_before"`
	CutAfter   int               `json:"commits_cut_after"`
	Points     map[string]int    `json:"died_at"` // deaths by the point, P-2
	Faults     []Recovery        `json:"faults"`
	Skipped    []Skipped         `json:"skipped"`
	Promises   []Promise         `json:"promises"`
	Findings   []oracle.Finding  `json:"findings"`
	Steps      []Step            `json:"steps"`
	Host       runs.Host         `json:"host"`
	Dir        string            `json:"dir,omitempty"` // the ledgers and logs, when a promise was broken
}

// Messages are what became of the messages of a run.
type Messages struct {
	Intents   int `json:"intents"`
	Accepted  int `json:"accepted"`
	Refused   int `json:"refused"`
	Unknown   int `json:"unknown"`
	Effects   int `json:"effects"`
	Dead      int `json:"dead"`
	Discarded int `json:"discarded"`
	Live      int `json:"live"` // at the end, as they had to be
}

// A Verdict says how a promise came out of a run.
type Verdict string

// The verdicts.
const (
	Held      Verdict = "held"
	Broken    Verdict = "broken"
	NotTested Verdict = "not tested"
)

// A Promise is one of the promises, and how it came out.
type Promise struct {
	ID      string  `json:"id"`
	Text    string  `json:"text"`
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // what shows it
}

// Held reports whether no promise was broken.
func (r *Report) Held() bool { return r != nil && len(r.Findings) == 0 }

// injected is how often a fault was.
func (r *Report) injected(f Fault) int {
	i := slices.IndexFunc(r.Faults, func(x Recovery) bool { return x.Fault == f })
	if i < 0 {
		return 0
	}
	return r.Faults[i].Injected
}

// A clause is what a promise says, and what must have happened in a run to say that
// it was held: evidence gives nothing of what did not happen.
type clause struct {
	id, text string
	broken   []oracle.Promise // a finding of one of these breaks it
	shared   bool             // but only if its own fault was there: the findings are others' in the first place
	tested   func(r *Report) (n int, what string)
}

// clauses are the promises S1 to S12. One that rests on exactly-once is broken with
// it when its own fault was there: the oracle cannot tell which of them did it.
func clauses() []clause {
	once := []oracle.Promise{oracle.ExactlyOnce}
	never := func(why string) func(*Report) (int, string) { return func(*Report) (int, string) { return 0, why } }
	fault := func(what string, fs ...Fault) func(*Report) (int, string) {
		return func(r *Report) (n int, _ string) {
			for _, f := range fs {
				n += r.injected(f)
			}
			return n, what
		}
	}
	ran := func(count func(r *Report) int, what string) func(*Report) (int, string) {
		return func(r *Report) (int, string) { return count(r), what }
	}
	return []clause{
		{"S1", "one committed effect for each accepted message, or a dead letter and none",
			[]oracle.Promise{oracle.ExactlyOnce, oracle.ByteEqual}, false,
			ran(func(r *Report) int { return r.Messages.Accepted }, "messages accepted")},
		{"S2", "only the newest claim of a message settles it", once, true,
			ran(func(r *Report) int { return r.Crew.Refused }, "commits and settlements of lost claims refused")},
		{"S3", "leases and due times are the store's clock", nil, true, never("it needs a clock that jumps: C-1")},
		{"S4", "an unknown outcome of a COMMIT is asked for, never guessed", once, true,
			ran(func(r *Report) int { return r.CutBefore + r.CutAfter }, "COMMITs cut")},
		{"S5", "messages of brokers pass an inbox", nil, true, never("a store has no broker")},
		{"S6", "messages to brokers pass an outbox", nil, true, never("a store has no broker")},
		{"S7", "attempts and crashes are counted before they happen, and charged to nobody else",
			[]oracle.Promise{oracle.Counted}, false, ran(func(r *Report) int {
				return r.Crew.Killed + r.Crew.Poisoned + r.injected(BadHandlers)
			}, "failures and deaths")},
		{"S8", "work is found without a notification", []oracle.Promise{oracle.Resumed}, true,
			fault("connections lost to ears, and messages due later", EndSessions, KillServer, BadHandlers)},
		{"S9", "no dirty connection is used again", once, true,
			fault("handlers that fail or leave a session dirty", BadHandlers)},
		{"S10", "a read-only server is a bad connection, not a failed message", []oracle.Promise{oracle.Counted}, true,
			fault("times that the server took no writes", ReadOnly)},
		{"S11", "what was accepted is done, waiting, running, dead or removed", []oracle.Promise{oracle.Conserved}, false,
			ran(func(r *Report) int { return r.Messages.Intents }, "messages accounted for")},
		{"S12", "work goes on by itself after the last fault",
			[]oracle.Promise{oracle.Resumed, oracle.CleanEnd, oracle.NothingLeaks}, false,
			ran(func(r *Report) int { return len(r.Steps) }, "faults healed")},
	}
}

// Judge fills in how each promise came out, by the findings and by what happened.
func (r *Report) Judge() {
	r.Promises = nil
	for _, c := range clauses() {
		r.Promises = append(r.Promises, c.judge(r))
	}
}

func (c clause) judge(r *Report) Promise {
	p := Promise{ID: c.id, Text: c.text, Verdict: Held}
	n, what := c.tested(r)
	bad := 0
	for _, f := range r.Findings {
		if slices.Contains(c.broken, f.Promise) {
			bad++
		}
	}
	switch {
	case bad > 0 && (n > 0 || !c.shared):
		p.Verdict, p.Reason = Broken, fmt.Sprintf("%d findings; %d %s", bad, n, what)
	case n == 0 && len(c.broken) == 0:
		p.Verdict, p.Reason = NotTested, what
	case n == 0:
		p.Verdict, p.Reason = NotTested, "no "+what
	default:
		p.Reason = fmt.Sprintf("%d %s", n, what)
	}
	return p
}
