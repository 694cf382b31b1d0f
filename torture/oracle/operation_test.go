package oracle_test

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/torture/oracle"
)

// numbers gives each letter a number, as the store would.
func numbers(e *oracle.Evidence) {
	for i := range e.Letters {
		e.Letters[i].Seq = int64(1000 + i)
	}
}

// operated is the truth of a run with operations: messages that were mended by a retry, by
// two, and by an edit; one that was discarded, and one that died again.
func operated() oracle.Evidence {
	e := truth()
	e.Lines, e.MaxLines = map[string]int{}, 50
	for _, f := range []oracle.Fate{oracle.Mended, oracle.Relapse, oracle.Typo} {
		e.Intents = append(e.Intents, oracle.Intent{ID: string(f), Kind: "k", Fate: f, Outcome: oracle.OK, Digest: "d"})
		e.Effects[string(f)] = 1
	}
	numbers(&e)
	for _, l := range e.Letters {
		e.Lines[l.ID] = 1
	}
	e.Lines["reject"] = 3
	reject, garbage := letterOf(&e, "reject").Seq, letterOf(&e, "garbage")
	garbage.Discarded = true
	e.Counts.Dead--
	e.Orders = []oracle.Order{
		{Key: "a", Action: oracle.Retry, Outcome: oracle.OK}, {Key: "b", Action: oracle.Retry, Outcome: oracle.Unknown},
		{Key: "c", Action: oracle.Edit, Outcome: oracle.OK}, {Key: "d", Action: oracle.Remove, Outcome: oracle.OK},
		{Key: "e", Action: oracle.Restore, Outcome: oracle.OK}, {Key: "f", Action: oracle.Retry, Outcome: oracle.Failed},
		{Key: "g", Action: oracle.Retry, Outcome: oracle.Unknown},
	}
	e.Operations = []oracle.Operation{
		operation("a", oracle.Retry, oracle.Target{Letter: 1, Message: "mended", State: oracle.Handled},
			oracle.Target{Letter: 2, Message: "relapse", State: oracle.DiedAgain},
			oracle.Target{Letter: 3, Message: "reject", State: oracle.DiedAgain}),
		operation("b", oracle.Retry, oracle.Target{Letter: 2, Message: "relapse", State: oracle.Gone},
			oracle.Target{Letter: 5, Message: "relapse", State: oracle.Handled},
			oracle.Target{Letter: 6, Message: "typo", State: oracle.Handled},
			oracle.Target{Letter: 7, Message: "reject", State: oracle.DiedAgain},
			oracle.Target{Letter: reject, Message: "reject", State: oracle.Waiting}),
		operation("c", oracle.Edit, oracle.Target{Letter: 6, Message: "typo", State: oracle.Handled},
			oracle.Target{Letter: reject, Message: "reject", State: oracle.NotChanged}),
		operation("d", oracle.Remove, oracle.Target{Letter: 7, Message: "reject", State: oracle.Handled},
			oracle.Target{Letter: garbage.Seq, Message: "garbage", State: oracle.Handled}),
		operation("e", oracle.Restore, oracle.Target{Letter: 7, Message: "reject", State: oracle.Handled}),
	}
	e.Operations[1].State = "cancelled"
	return e
}

// operation counts its letters as the store would.
func operation(key, action string, ts ...oracle.Target) oracle.Operation {
	o := oracle.Operation{
		ID: "op-" + key, Key: key, Action: action, State: "done", Over: true, Total: len(ts), Targets: ts,
	}
	recount(&o)
	return o
}

func recount(o *oracle.Operation) {
	var n [oracle.NotChanged + 1]int
	for _, t := range o.Targets {
		n[t.State]++
	}
	o.Total, o.Left, o.Flying, o.Done = len(o.Targets), n[oracle.Waiting], n[oracle.Flying], n[oracle.Handled]
	o.Failed, o.Gone, o.Refused = n[oracle.DiedAgain], n[oracle.Gone], n[oracle.NotChanged]
}

// state changes what an operation says of a letter, and its counts with it.
func state(e *oracle.Evidence, op, target int, s oracle.TargetState) {
	o := &e.Operations[op]
	o.Targets = slices.Clone(o.Targets)
	o.Targets[target].State = s
	recount(o)
}

// drop removes a letter, as if it were lost.
func drop(e *oracle.Evidence, id string) {
	e.Letters = slices.DeleteFunc(e.Letters, func(l oracle.Letter) bool { return l.ID == id })
	e.Counts.Dead--
}

func TestTheOracleFindsNothingWhereOperationsAreWell(t *testing.T) {
	if found := oracle.Check(operated()); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

func TestTheOracleFindsEachLieOfAnOperation(t *testing.T) {
	for _, l := range slices.Concat(endLies(), sendLies(), letterLies()) {
		t.Run(l.name, func(t *testing.T) { l.judge(t, operated()) })
	}
}

// endLies are about operations as such.
func endLies() []lie {
	return []lie{
		{"an operation that was made is lost", func(e *oracle.Evidence) { e.Operations = e.Operations[:4] },
			[]string{"S11: operation e was made, and is lost", "S11: message reject has a letter 7 that was discarded"}},
		{"one of which nobody knew is not there", func(e *oracle.Evidence) { e.Orders[6].Outcome = oracle.Unknown }, nil},
		{"one that was refused is there", func(e *oracle.Evidence) {
			e.Operations = append(e.Operations, operation("f", oracle.Retry))
		}, []string{"S1: operation f was refused, and is there"}},
		{"one is there twice", func(e *oracle.Evidence) {
			e.Operations = append(e.Operations, operation("g", "retry"), operation("g", "retry"))
		}, []string{"S1: operation g is there 2 times"}},
		{"one that nobody ordered", func(e *oracle.Evidence) { e.Operations = append(e.Operations, operation("x", "retry")) },
			[]string{"S1: operation x is there, and nobody meant to make it"}},
		{"one does not end", func(e *oracle.Evidence) { e.Operations[0].Over, e.Operations[0].State = false, "stopped" },
			[]string{"S12: operation op-a (retry) does not end: it is stopped"}},
		{"one is done with letters left", func(e *oracle.Evidence) { e.Operations[1].State = "done" },
			[]string{"S11: operation op-b (retry) is done, and 1 letters are left"}},
		{"one counts too many done", func(e *oracle.Evidence) { e.Operations[0].Done++ },
			[]string{"S11: operation op-a (retry) counts 2 done, and has 1"}},
		{"one counts too few failures", func(e *oracle.Evidence) { e.Operations[0].Failed-- },
			[]string{"S11: operation op-a (retry) counts 1 that failed again, and has 2"}},
		{"one counts letters that it has not", func(e *oracle.Evidence) { e.Operations[2].Total++; e.Operations[2].Left++ },
			[]string{"S11: operation op-c (edit) counts 3 letters, and has 2", "counts 1 left, and has 0"}},
		{"one is in flight for ever", func(e *oracle.Evidence) {
			state(e, 0, 1, oracle.Flying)
			e.Operations[0].Over = false
		}, []string{"S12: operation op-a (retry) does not end: it is done, with 1 letters in flight"}},
	}
}

// sendLies are about letters that were put back.
func sendLies() []lie {
	return []lie{
		{"a letter is put back by two operations", func(e *oracle.Evidence) { state(e, 1, 0, oracle.DiedAgain) },
			[]string{"S1: message relapse was put back 2 times from its letter 2",
				"(relapse) is done, and was put back 3 times, not 2", "S7: message relapse (relapse) died again 2 times"}},
		{"a letter is put back twice, and nobody wrote it down", func(e *oracle.Evidence) { e.Lines["reject"] = 4 },
			[]string{"S7: message reject (reject) has 4 deaths in its history, and was put back 2 times"}},
		{"a message that was mended is done twice", func(e *oracle.Evidence) { e.Effects["mended"] = 2 },
			[]string{"S1: message mended has 2 effects", notConserved}},
		{"a message is done without a retry", func(e *oracle.Evidence) { state(e, 0, 0, oracle.Gone) },
			[]string{"S1: message mended (mended) has an effect that its handler took back", "was put back 0 times, not 1",
				"S11: message mended is lost: its letter 1 was not put back"}},
		{"a message that was mended died again", func(e *oracle.Evidence) {
			delete(e.Effects, "mended")
			state(e, 0, 0, oracle.DiedAgain)
			bury(e, "mended", driver.ReasonRejected)
			letterOf(e, "mended").Digest, e.Lines["mended"] = "d", 2
		}, []string{"S7: message mended (mended) died again 1 times, says an operation, not 0",
			"S7: message mended (mended) is innocent, and was buried"}},
		{"a message was lost on its way back", func(e *oracle.Evidence) { delete(e.Effects, "mended") },
			[]string{"S1: message mended (mended) was accepted, and is lost", "S11: message mended (mended) is done, says",
				notConserved}},
		{"a message died again, and is no letter", func(e *oracle.Evidence) {
			state(e, 1, 1, oracle.DiedAgain)
		}, []string{"S11: message relapse (relapse) died again, says an operation, and is no dead letter",
			"S7: message relapse (relapse) died again 2 times"}},
		{"a message is done twice after its edit", func(e *oracle.Evidence) {
			e.Operations[0].Targets = append(slices.Clone(e.Operations[0].Targets),
				oracle.Target{Letter: 9, Message: "typo", State: oracle.DiedAgain})
			recount(&e.Operations[0])
		}, []string{"S1: message typo (typo) is done, and was put back 2 times after it was edited",
			"S11: message typo (typo) died again, says an operation, and is no dead letter"}},
		{"a message that must not die has a letter", func(e *oracle.Evidence) {
			e.Operations[0].Targets = append(slices.Clone(e.Operations[0].Targets),
				oracle.Target{Letter: 9, Message: "done", State: oracle.Handled})
			recount(&e.Operations[0])
		}, []string{"S11: message done (done) has a letter in operation op-a, and must not die"}},
	}
}

// letterLies are about letters that stay, or should.
func letterLies() []lie {
	return []lie{
		{"a letter that was put back is still there", func(e *oracle.Evidence) { letterOf(e, "reject").Seq = 3 },
			[]string{"S1: message reject was put back, and its letter 3 is still there",
				"S11: message reject is lost: its letter"}},
		{"a letter is lost", func(e *oracle.Evidence) { drop(e, "reject") },
			[]string{"S1: message reject (reject) was accepted, and is lost", "S11: message reject is lost: its letter",
				"S11: message reject (reject) died again, says an operation, and is no dead letter", notConserved}},
		{"a letter is gone, and nobody took it", func(e *oracle.Evidence) { state(e, 1, 4, oracle.Gone) },
			[]string{"S11: message reject is gone, says an operation, and nothing has become of its letter"}},
		{"a letter is refused, and nobody has its id", func(e *oracle.Evidence) { state(e, 1, 4, oracle.NotChanged) },
			[]string{"S11: message reject could not be changed, says an operation, and nobody had its id"}},
		{"a letter is discarded, and no operation did it", func(e *oracle.Evidence) {
			letterOf(e, "invalid").Discarded = true
			e.Counts.Dead--
		}, []string{"S11: message invalid is discarded, and no operation did it"}},
		{"a letter was discarded, and is not", func(e *oracle.Evidence) {
			letterOf(e, "garbage").Discarded = false
			e.Counts.Dead++
		}, []string{"S11: message garbage has a letter"}},
		{"a discarded letter is counted as dead", func(e *oracle.Evidence) { e.Counts.Dead++ },
			[]string{"S11: the store counts 6 dead letters, and has 5"}},
		{"a letter was put back although it was discarded", func(e *oracle.Evidence) { state(e, 4, 0, oracle.Gone) },
			[]string{"S11: message reject has a letter 7 that was discarded 1 times and restored 0 times"}},
		{"an edit did not change what it fits", func(e *oracle.Evidence) { state(e, 2, 0, oracle.NotChanged) },
			[]string{"S11: message typo (typo) was not edited by a patch that fits it", "put back 0 times after it was edited",
				"S1: message typo (typo) has an effect that its handler took back"}},
		{"an edit changed what it does not fit", func(e *oracle.Evidence) { state(e, 2, 1, oracle.Handled) },
			[]string{"S11: message reject (reject) was edited by a patch that does not fit it"}},
		{"an edit was made twice", func(e *oracle.Evidence) {
			e.Orders = append(e.Orders, oracle.Order{Key: "h", Action: oracle.Edit, Outcome: oracle.OK})
			e.Operations = append(e.Operations,
				operation("h", oracle.Edit, oracle.Target{Letter: 6, Message: "typo", State: oracle.Handled}))
		}, []string{"S1: message typo was edited 2 times by the same patch"}},
		{"a poisonous message kills on in its next life", func(e *oracle.Evidence) {
			e.Operations[0].Targets = append(slices.Clone(e.Operations[0].Targets),
				oracle.Target{Letter: 9, Message: "poison", State: oracle.DiedAgain})
			recount(&e.Operations[0])
			e.Deaths["poison"] = 11
		}, []string{"S7: message poison ended 11 processes, and is to be buried after 10"}},
	}
}
