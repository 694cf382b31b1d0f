package torture

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/posthorn/posthorn/torture/oracle"
)

// A Fault is something bad that a run does on purpose, by its name in the list of
// faults that Posthorn survives.
type Fault string

// The faults that a run injects one after the other, each healed before the next.
const (
	KillWorker    Fault = "P-1"  // kill -9 of a process
	DieAtPoint    Fault = "P-2"  // death at a step that moves a message
	KillParent    Fault = "P-4"  // kill -9 of the supervisor
	TermWorker    Fault = "P-6"  // SIGTERM
	StopWorker    Fault = "P-7"  // SIGSTOP beyond the lease, then SIGCONT
	KillServer    Fault = "D-1"  // kill -9 of the server, and its restart
	EndSessions   Fault = "D-3"  // the server ends connections
	StopServer    Fault = "D-4"  // SIGSTOP of the server
	Hog           Fault = "D-5"  // somebody takes all connections
	ReadOnly      Fault = "D-6"  // the server takes no writes
	LockOut       Fault = "D-9"  // somebody holds the lock that writers need
	CutCommits    Fault = "N-1"  // connections are cut before and after COMMITs
	FreezeNetwork Fault = "N-3"  // connections are half open
	Limits        Fault = "P-12" // workers end by limits
	PoisonFault   Fault = "P-9"  // handlers that end their process, or never end
	OddMessages   Fault = "M"    // bodies, kinds, ids and times that are odd
	BadHandlers   Fault = "H"    // handlers that fail, panic, are late or leave their session dirty
	Conflicts     Fault = "D-9h" // handlers that run into each other
	Outage        Fault = "M-15" // what handlers need is away, and all that need it fail
)

// A kind is one fault that can be injected.
type kind struct {
	id       Fault
	about    string
	inLoad   []oracle.Fate // it comes with the messages, by these fates
	possible func(p *place) (whyNot string)
	inject   func(ctx context.Context, s *stage, rnd *rand.Rand) error // and heal
}

// always is possible everywhere.
func always(*place) string { return "" }

// onlyPrivate is possible on a server that is the run's own.
func onlyPrivate(p *place) string {
	switch {
	case p.kind == "sqlite":
		return "SQLite has no server"
	case p.server == nil:
		return "only on a private server: --private"
	}
	return ""
}

// onlyServer is possible on any server.
func onlyServer(p *place) string {
	if p.kind == "sqlite" {
		return "SQLite has no server"
	}
	return ""
}

// onlyProxied is possible where a proxy is on the way.
func onlyProxied(p *place) string { return p.noProxy }

// onlyStopping is possible where processes can be stopped.
func onlyStopping(*place) string { return canStop }

// onlyFile is possible on SQLite.
func onlyFile(p *place) string {
	if p.kind != "sqlite" {
		return "on servers, by handlers: D-9h"
	}
	return ""
}

// kinds lists all faults that a run knows.
func kinds() []kind {
	return []kind{
		{id: KillWorker, about: "kill -9 a worker, at times a producer or operator", possible: always, inject: killProcess},
		{id: DieAtPoint, about: "a process dies at a step that moves a message", possible: onlyPoints, inject: dieAtPoint},
		{id: KillParent, about: "kill -9 the supervisor of workers", possible: onlySupervised, inject: killSupervisor},
		{id: TermWorker, about: "SIGTERM to a worker, at times an operator", possible: onlyStopping, inject: endWorker},
		{id: StopWorker, about: "SIGSTOP a worker or operator beyond its lease, then SIGCONT", possible: onlyStopping,
			inject: stopWorker},
		{id: Limits, about: "workers reach their message limit", possible: always, inLoad: []oracle.Fate{}},
		{id: PoisonFault, about: "handlers exit, throw a fatal error, or never return", possible: always,
			inLoad: []oracle.Fate{oracle.Poison, oracle.ExitOnce, oracle.HangOnce}},
		{id: KillServer, about: "kill -9 the server and start it again", possible: onlyPrivate, inject: killServer},
		{id: EndSessions, about: "the server ends connections", possible: onlyServer, inject: endSessions},
		{id: StopServer, about: "SIGSTOP the server", possible: onlyPrivate, inject: stopServer},
		{id: Hog, about: "a hog takes all connections", possible: onlyPrivate, inject: hogConnections},
		{id: ReadOnly, about: "the server takes no writes", possible: onlyPrivate, inject: makeReadOnly},
		{id: LockOut, about: "somebody holds the write lock", possible: onlyFile, inject: lockOut},
		{id: Conflicts, about: "handlers run into deadlocks and serialization failures", possible: onlyServer,
			inLoad: []oracle.Fate{oracle.Deadlock, oracle.Conflict}},
		{id: CutCommits, about: "connections are cut before and after COMMITs", possible: onlyProxied, inject: cutCommits},
		{id: FreezeNetwork, about: "connections are half open", possible: onlyProxied, inject: freezeNetwork},
		{id: OddMessages, about: "odd bodies, kinds, ids, times", possible: always, inLoad: []oracle.Fate{
			oracle.Garbage, oracle.Invalid, oracle.Far, oracle.Stranger, oracle.TooLarge, oracle.Twin}},
		{id: Outage, about: "every handler fails that needs a partner, until he is back", possible: always, inject: outage,
			inLoad: []oracle.Fate{oracle.Patient}},
		{id: BadHandlers, about: "handlers fail, panic, are late, leave their session dirty", possible: always,
			inLoad: []oracle.Fate{oracle.FailOnce, oracle.PanicOnce, oracle.TimeoutOnce, oracle.Reject, oracle.Fail,
				oracle.Panic, oracle.Dirty, oracle.Spawn}},
	}
}

// elsewhere are the faults that no run can inject, and what does.
func elsewhere() []Skipped {
	return []Skipped{
		{"P-3", "it needs strace: make sweep"},
		{"C-1", "it needs a server under libfaketime; internal/faulttest does it"},
		{"D-2", "it needs a file system of its own to cut the power of: make powercuts"},
		{"D-7", "it needs a small file system of its own"},
		{"D-11", "it needs idleness; internal/faulttest does it"},
	}
}

// Faults lists the faults that a run can be asked for, by name.
func Faults() (ids []Fault) {
	for _, k := range kinds() {
		ids = append(ids, k.id)
	}
	return ids
}

// A Skipped is a fault that a run did not inject.
type Skipped struct {
	Fault  Fault  `json:"fault"`
	Reason string `json:"reason"`
}

// choose picks the faults of a run, and says why the others are left out. No
// wishes are for all.
func choose(p *place, wishes []Fault) (chosen []kind, skipped []Skipped) {
	for _, k := range kinds() {
		why := k.possible(p)
		if len(wishes) > 0 && !slices.Contains(wishes, k.id) {
			why = "it was not asked for"
		}
		if why != "" {
			skipped = append(skipped, Skipped{k.id, why})
			continue
		}
		chosen = append(chosen, k)
	}
	return chosen, append(skipped, elsewhere()...)
}

// without lists the fates that the faults of a run leave out.
func without(chosen []kind) (out []oracle.Fate) {
	for _, k := range kinds() {
		if !slices.ContainsFunc(chosen, func(c kind) bool { return c.id == k.id }) {
			out = append(out, k.inLoad...)
		}
	}
	return out
}

// A Step is one fault of a schedule.
type Step struct {
	After time.Duration `json:"after_ns"` // the last one has healed
	Fault Fault         `json:"fault"`
	Seed  uint64        `json:"seed"` // of what it chooses by chance
}

// Schedule makes the first n steps of a seed: every fault comes before any comes again,
// in another order each time. A kill is cheap, and comes thrice a round. It depends on its
// arguments alone.
func Schedule(seed uint64, faults []Fault, n int) []Step {
	rnd := rand.New(rand.NewPCG(seed, 2))
	all := slices.Clone(faults)
	if slices.Contains(faults, KillWorker) {
		all = append(all, KillWorker, KillWorker)
	}
	var steps []Step
	for len(steps) < n && len(faults) > 0 {
		round := slices.Clone(all)
		rnd.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		for _, f := range round {
			gap := minGap + time.Duration(rnd.Int64N(int64(maxGap-minGap)))
			steps = append(steps, Step{After: gap.Round(time.Millisecond), Fault: f, Seed: rnd.Uint64()})
		}
	}
	return steps[:min(n, len(steps))]
}

// The gaps between faults.
const (
	minGap = 300 * time.Millisecond
	maxGap = 1500 * time.Millisecond
)

// A Recovery is how soon work went on after a fault of a kind had healed.
type Recovery struct {
	Fault    Fault         `json:"fault"`
	About    string        `json:"about"`
	Injected int           `json:"injected"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Worst    time.Duration `json:"worst_ns"`
	times    []time.Duration
}

// settle computes the percentiles.
func (r *Recovery) settle() {
	slices.SortFunc(r.times, func(a, b time.Duration) int { return cmp.Compare(a, b) })
	r.P50, r.P99, r.Worst = percentile(r.times, 50), percentile(r.times, 99), percentile(r.times, 100)
}

// percentile is the smallest time that so many of a hundred do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*p+99)/100-1]
}
