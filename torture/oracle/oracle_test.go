package oracle_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/torture/oracle"
)

// truth is evidence of a run in which all is well: a message of each fate, and
// what a producer did not know.
func truth() oracle.Evidence {
	e := oracle.Evidence{
		Effects: map[string]int{}, Live: map[string]int{}, MinCrashes: 4, MaxCrashes: 5, Deaths: map[string]int{},
	}
	add := func(id string, f oracle.Fate, o oracle.Outcome) {
		e.Intents = append(e.Intents, oracle.Intent{ID: id, Kind: "k", Fate: f, Outcome: o, Digest: "d-" + id})
	}
	for _, f := range []oracle.Fate{
		oracle.Done, oracle.FailOnce, oracle.PanicOnce, oracle.TimeoutOnce, oracle.HangOnce, oracle.ExitOnce,
		oracle.Deadlock, oracle.Conflict, oracle.Dirty, oracle.Spawn, oracle.Patient,
	} {
		add(string(f), f, oracle.OK)
		e.Effects[string(f)] = 1
	}
	e.Effects[oracle.ChildOf("spawn")] = 1
	for f, reason := range map[oracle.Fate]string{
		oracle.Reject: driver.ReasonRejected, oracle.Fail: driver.ReasonExhausted, oracle.Panic: driver.ReasonExhausted,
		oracle.Invalid: driver.ReasonInvalid, oracle.Garbage: driver.ReasonUndecodable,
		oracle.Poison: driver.ReasonCrashed,
	} {
		add(string(f), f, oracle.OK)
		e.Letters = append(e.Letters, oracle.Letter{ID: string(f), Kind: "k", Reason: reason, Digest: "d-" + string(f)})
	}
	e.Letters[slices.IndexFunc(e.Letters, func(l oracle.Letter) bool { return l.ID == "poison" })].Crashes = 5
	for _, f := range []oracle.Fate{oracle.Far, oracle.Stranger} {
		add(string(f), f, oracle.OK)
		e.Live[string(f)] = 1
	}
	add("too_large", oracle.TooLarge, oracle.Failed)
	add("twin", oracle.Twin, oracle.Failed)
	add("refused", oracle.Done, oracle.Failed)
	add("came", oracle.Done, oracle.Unknown)
	e.Effects["came"] = 1
	add("came not", oracle.Done, oracle.Unknown)
	add("spawn that came not", oracle.Spawn, oracle.Unknown)
	e.Counts = oracle.Counts{Live: 2, Dead: int64(len(e.Letters))}
	e.Charges = []oracle.Charge{{ID: "fail_once", Attempt: 1}, {ID: "timeout_once", Attempt: 3}}
	e.Deaths["poison"] = 5
	return e
}

func TestTheOracleFindsNothingWhereAllIsWell(t *testing.T) {
	if found := oracle.Check(truth()); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// A lie is evidence that is changed, and what the oracle must find then.
type lie struct {
	name string
	tell func(e *oracle.Evidence)
	want []string // each a part of a finding, and no other may be there
}

// letterOf is the dead letter of a message.
func letterOf(e *oracle.Evidence, id string) *oracle.Letter {
	return &e.Letters[slices.IndexFunc(e.Letters, func(l oracle.Letter) bool { return l.ID == id })]
}

// bury adds a dead letter as the store would.
func bury(e *oracle.Evidence, id, reason string) {
	e.Letters = append(e.Letters, oracle.Letter{ID: id, Kind: "k", Reason: reason, Digest: "d-" + id})
	e.Counts.Dead++
}

// revive adds a live row as the store would.
func revive(e *oracle.Evidence, id string) {
	e.Live[id]++
	e.Counts.Live++
}

// notConserved is the sum of all places, which is wrong then, too.
const notConserved = "messages were accepted, and there are"

// effectLies are about effects.
func effectLies() []lie {
	return []lie{
		{"an accepted message is lost", func(e *oracle.Evidence) { delete(e.Effects, "done") },
			[]string{"S1: message done (done) was accepted, and is lost", notConserved}},
		{"an effect is doubled", func(e *oracle.Evidence) { e.Effects["done"] = 2 },
			[]string{"S1: message done has 2 effects", notConserved}},
		{"one of which nobody knew is doubled", func(e *oracle.Evidence) { e.Effects["came"] = 2 },
			[]string{"S1: message came has 2 effects"}},
		{"a refused message has an effect", func(e *oracle.Evidence) { e.Effects["refused"] = 1 },
			[]string{"S1: message refused was refused, and is there: 1 effects"}},
		{"a refused message is live", func(e *oracle.Evidence) { revive(e, "refused") },
			[]string{"S1: message refused was refused, and is there", "S12: message refused (done) is left"}},
		{"an effect without an intent", func(e *oracle.Evidence) { e.Effects["ghost"] = 1 },
			[]string{"S1: message ghost has an effect, and nobody meant", notConserved}},
		{"a dead letter without an intent", func(e *oracle.Evidence) { bury(e, "ghost", driver.ReasonRejected) },
			[]string{"S1: message ghost has a dead letter, and nobody meant", notConserved}},
		{"a live message without an intent", func(e *oracle.Evidence) { revive(e, "ghost") },
			[]string{"S1: message ghost has a row, and nobody meant", notConserved}},
		{"a rejected message has its effect", func(e *oracle.Evidence) { e.Effects["reject"] = 1 },
			[]string{"S1: message reject has an effect and a dead letter", "(reject) has an effect that its handler took back",
				notConserved}},
		{"an effect came before its time", func(e *oracle.Evidence) {
			delete(e.Live, "far")
			e.Counts.Live--
			e.Effects["far"] = 1
		}, []string{"S1: message far (far) has an effect that its handler took back"}},
		{"an effect, and a dead letter", func(e *oracle.Evidence) { bury(e, "done", driver.ReasonExhausted) },
			[]string{"S1: message done has an effect and a dead letter", "S7: message done (done) is innocent", notConserved}},
		{"what was sent in a transaction is lost", func(e *oracle.Evidence) { delete(e.Effects, oracle.ChildOf("spawn")) },
			[]string{"S1: message spawn/child is lost", notConserved}},
		{"what was rolled back was sent", func(e *oracle.Evidence) { e.Effects[oracle.ChildOf("spawn that came not")] = 1 },
			[]string{"S1: message spawn that came not/child is there"}},
		{"what was sent in a transaction is doubled", func(e *oracle.Evidence) { e.Effects[oracle.ChildOf("spawn")] = 2 },
			[]string{"S1: message spawn/child has 2 effects"}},
		{"a fate that nobody knows", func(e *oracle.Evidence) { e.Intents[0].Fate = "?" },
			[]string{`S1: message done has an unknown fate "?"`}},
	}
}

// countLies are about places, counts and charges.
func countLies() []lie {
	return []lie{
		{"a message is live after its effect", func(e *oracle.Evidence) { revive(e, "done") },
			[]string{"S11: message done is live although it has ended", notConserved}},
		{"a message is dead twice", func(e *oracle.Evidence) { bury(e, "reject", driver.ReasonRejected) },
			[]string{"S11: message reject is there more than once"}},
		{"a message is live twice", func(e *oracle.Evidence) { revive(e, "far") },
			[]string{"S11: message far is there more than once"}},
		{"it is no loss that nobody knew of", func(e *oracle.Evidence) { delete(e.Effects, "came") }, nil},
		{"the store counts too many live ones", func(e *oracle.Evidence) { e.Counts.Live++ },
			[]string{"S11: the store counts 3 live messages, and has 2"}},
		{"the store counts too few letters", func(e *oracle.Evidence) { e.Counts.Dead-- },
			[]string{"S11: the store counts 5 dead letters, and has 6"}},
		{"a message is left", func(e *oracle.Evidence) { delete(e.Effects, "done"); revive(e, "done") },
			[]string{"S12: message done (done) is left, and nobody handles it"}},
		{"a doomed message is left", func(e *oracle.Evidence) {
			e.Letters = slices.DeleteFunc(e.Letters, func(l oracle.Letter) bool { return l.ID == "poison" })
			e.Counts.Dead--
			revive(e, "poison")
		}, []string{"S12: message poison (poison) is left"}},
		{"an innocent is buried", func(e *oracle.Evidence) {
			delete(e.Effects, "done")
			bury(e, "done", driver.ReasonCrashed)
		}, []string{"S7: message done (done) is innocent, and was buried: crashed"}},
		{"an innocent child is buried", func(e *oracle.Evidence) {
			delete(e.Effects, oracle.ChildOf("spawn"))
			bury(e, oracle.ChildOf("spawn"), driver.ReasonCrashed)
		}, []string{"S7: message spawn/child (done) is innocent, and was buried: crashed"}},
		{"an innocent is charged", func(e *oracle.Evidence) { e.Charges = []oracle.Charge{{ID: "done", Attempt: 1}} },
			[]string{"S7: message done (done) starts with 1 attempts spent"}},
		{"a failure is charged twice", func(e *oracle.Evidence) {
			e.Charges = []oracle.Charge{{ID: "fail_once", Attempt: 2}}
		}, []string{"S7: message fail_once (fail_once) starts with 2 attempts"}},
		{"a message is tried before its time", func(e *oracle.Evidence) {
			e.Rushes = []oracle.Rush{{ID: "patient", Attempt: 3, After: 100 * time.Millisecond, Least: 315 * time.Millisecond}}
		}, []string{"M-15: message patient starts with 3 attempts spent 100ms after it was sent: its pauses are 315ms"}},
		{"a poisonous message kills on", func(e *oracle.Evidence) { e.Deaths["poison"] = 6 },
			[]string{"S7: message poison ended 6 processes"}},
		{"a poisonous message is buried too soon", func(e *oracle.Evidence) { letterOf(e, "poison").Crashes = 2 },
			[]string{"S7: message poison was buried after 2 crashes, not 4"}},
		{"a dead letter has a wrong reason", func(e *oracle.Evidence) { letterOf(e, "fail").Reason = driver.ReasonRejected },
			[]string{"S7: message fail (fail) was buried as rejected, not as retries_exhausted"}},
		{"a dead letter has another body", func(e *oracle.Evidence) { letterOf(e, "garbage").Digest = "?" },
			[]string{"M: message garbage is not in its dead letter as it was sent"}},
		{"a dead letter has another kind", func(e *oracle.Evidence) { letterOf(e, "garbage").Kind = "?" },
			[]string{"M: message garbage is not in its dead letter as it was sent"}},
		{"what is too large is accepted", func(e *oracle.Evidence) {
			i := slices.IndexFunc(e.Intents, func(in oracle.Intent) bool { return in.ID == "too_large" })
			e.Intents[i].Outcome, e.Effects["too_large"] = oracle.OK, 1
		}, []string{"M: message too_large (too_large) was accepted"}},
	}
}

func TestTheOracleFindsEachLie(t *testing.T) {
	for _, l := range slices.Concat(effectLies(), countLies()) {
		t.Run(l.name, func(t *testing.T) { l.judge(t, truth()) })
	}
}

// judge tells the lie, and wants the oracle to find it in evidence that is true otherwise.
func (l lie) judge(t *testing.T, e oracle.Evidence) {
	e.Effects, e.Live, e.Deaths = maps.Clone(e.Effects), maps.Clone(e.Live), maps.Clone(e.Deaths)
	l.tell(&e)
	found := oracle.Check(e)
	for _, want := range l.want {
		if !slices.ContainsFunc(found, func(f oracle.Finding) bool { return strings.Contains(f.String(), want) }) {
			t.Errorf("not found: %q in %v", want, found)
		}
	}
	for _, f := range found {
		if f.Promise == oracle.Conserved && f.ID == "" {
			continue // the sum is wrong wherever something else is
		}
		if !slices.ContainsFunc(l.want, func(w string) bool { return strings.Contains(f.String(), w) }) {
			t.Errorf("found what is no lie: %v", f)
		}
	}
}
