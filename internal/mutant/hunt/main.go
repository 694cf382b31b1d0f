// Command hunt builds Posthorn with each planted fault, one at a time, and shows that a
// run of torture finds it, or where a run cannot, a test; or, with -sim, that the simulator
// does. It prints a table, and ends with
// 1 when a fault got away: then the checks are worth less than they seem.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/safety"
)

// A quarry is a planted fault, and how it is found.
type quarry struct {
	name, tag string
	run       []string // of torture: where, and by which faults
	pkg, test string   // instead, or first: a test that fails
	sim       bool     // instead: the simulator
}

// planted makes the quarry of a fault of package mutant.
func planted(name string, run ...string) quarry {
	return quarry{name: name, tag: mutant.Tag + "," + name, run: run}
}

// quarries lists all faults. The runs are on the store where the fault shows soonest.
func quarries() []quarry {
	return []quarry{
		planted("ack_first", "--faults", "H"),
		{name: "settle_without_token", tag: safety.TagPrefix + "fencing",
			pkg: "./store/sqlite", test: "TestSQLiteKeepsTheContract/fence"},
		{name: "rescue_blind", tag: mutant.Tag + ",rescue_blind",
			pkg: "./store/sqlite", test: "TestSQLiteKeepsTheContract/lease"},
		planted("commit_fails", "--private", "postgres", "--faults", "N-1,D-3"),
		{name: "weak_durability", tag: mutant.Tag + ",weak_durability", pkg: "./cli", test: "TestScripts/doctor"},
		planted("ack_on_panic", "--faults", "H"),
		{name: "crash_uncounted", tag: safety.TagPrefix + "crashcount", run: []string{"--faults", "P-9,P-1"}},
		planted("no_poll", "--private", "mariadb", "--faults", "H,M"),
		{name: "settle_last", tag: safety.PlantedSettleLast,
			pkg: "./store/sqlite", test: "TestEffectOfALostClaimIsNotRun"},
		planted("bury_in_two", "--private", "postgres", "--faults", "P-1,D-1,D-3,N-1,H,M"),
		planted("dirty_kept", "--private", "postgres", "--faults", "H"),
		planted("retry_in_two", "--private", "postgres", "--faults", "P-1,D-1,D-3,N-1,H"),
		{name: "innocents_charged", tag: mutant.Tag + ",innocents_charged",
			pkg: "./store/sqlite", test: "TestSQLiteKeepsTheContract/(declares|suspect)"},
		{name: "released_twice", tag: mutant.Tag + ",released_twice",
			pkg: "./store/sqlite", test: "TestSQLiteKeepsTheContract/(declares|suspect)"},
		{name: "operation_in_two", tag: mutant.Tag + ",operation_in_two",
			pkg: "./internal/crashtest", test: "TestEachLetterOfAnOperationHasOneEnd/SQLite",
			run: []string{"--private", "postgres", "--faults", "P-1,D-1,D-3,N-1,H"}},
		{name: "operation_unfenced", tag: mutant.Tag + ",operation_unfenced",
			pkg: "./store", test: "TestWhoLostAnOperationChangesNothing/SQLite"},
		{name: "canary_early", tag: mutant.Tag + ",canary_early",
			pkg: "./store", test: "TestABulkRetryGoesOnByOutcomesFromOneToTenToTheRest/SQLite"},
		{name: "rest_ignored", tag: mutant.Tag + ",rest_ignored",
			pkg: "./store", test: "TestAStepThatRestsOnlyLooks/SQLite"},
	}
}

// simulated lists the faults that the simulator finds.
func simulated() []quarry {
	qs := []quarry{
		{name: "settle_without_token", tag: safety.TagPrefix + "fencing", sim: true},
		{name: "crash_uncounted", tag: safety.TagPrefix + "crashcount", sim: true},
	}
	for _, name := range []string{
		"rescue_blind", "bury_in_two", "retry_in_two", "ack_first", "ack_on_panic", "commit_fails", "no_poll",
		"innocents_charged", "released_twice", "gives_up", "backoff_kept", "operation_in_two", "operation_unfenced",
		"canary_early", "rest_ignored",
	} {
		q := planted(name)
		q.sim = true
		qs = append(qs, q)
	}
	return qs
}

// Bounds of a hunt.
const (
	tries      = 3      // each with another seed: chance decides what a kill hits
	simSeeds   = "1000" // of the simulator
	minutes    = "0.7"
	tryWithin  = 6 * time.Minute
	textColumn = 140
)

func main() {
	only := flag.String("only", "", "hunt these `faults` alone, by names with commas between")
	sim := flag.Bool("sim", false, "hunt with the simulator, not with torture and the tests")
	flag.Parse()
	quarries := quarries()
	if *sim {
		quarries = simulated()
	}
	dir, err := os.MkdirTemp("", "posthorn-hunt-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	caught, all := 0, 0
	for _, q := range quarries {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), q.name) {
			continue
		}
		all++
		began := time.Now()
		how, err := q.hunt(dir)
		if err == nil {
			caught++
		} else {
			how = "NOT CAUGHT: " + err.Error()
		}
		fmt.Printf("%-21s %5.0fs  %s\n", q.name, time.Since(began).Seconds(), how[:min(len(how), textColumn)])
	}
	fmt.Printf("%d/%d\n", caught, all)
	if err := os.RemoveAll(dir); err != nil || caught < all {
		os.Exit(1)
	}
}

// errAway: nothing was found.
var errAway = errors.New("nothing found it")

// hunt returns what found the fault.
func (q quarry) hunt(dir string) (how string, err error) {
	if q.test != "" {
		if how, err = q.tested(); err != nil || q.run == nil {
			return how, err
		}
	}
	program, source := filepath.Join(dir, q.name), "./cmd/posthorn"
	if q.sim {
		source = "./internal/sim/play"
	}
	if out, err := command("go", "build", "-tags="+q.tag, "-o", program, source)(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	if q.sim {
		return q.hunted(command(program, "-seeds", simSeeds), "broken: ")
	}
	by := how
	for seed := 1; seed <= tries; seed++ {
		args := append([]string{"torture", "--minutes", minutes, "--seed", fmt.Sprint(seed), "--resume-within", "1m",
			"--store", "sqlite:" + filepath.Join(dir, q.name+".db")}, q.run...)
		if slices.Contains(q.run, "--private") {
			args = slices.Delete(args, 7, 9) // a private server has the store
		}
		if how, err = q.hunted(command(program, args...), "broken: "); err == nil {
			return strings.TrimPrefix(by+"; "+how, "; "), nil
		}
	}
	return "", err
}

// tested returns the test that fails with the fault, and does not without it.
func (q quarry) tested() (how string, err error) {
	test := []string{"test", "-count=1", "-run=^" + strings.ReplaceAll(q.test, "/", "$/^") + "$", q.pkg}
	if out, err := command("go", test...)(); err != nil {
		return "", fmt.Errorf("it fails without the fault, too: %w: %s", err, out)
	}
	how, err = q.hunted(command("go", append(test, "-tags="+q.tag)...), "--- FAIL: ")
	return strings.Replace(how, "--- FAIL: ", q.pkg+" ", 1), err
}

// command is a command to run, which gives what it says.
func command(name string, args ...string) func() (string, error) {
	return func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), tryWithin)
		defer cancel()
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // our own programs
		return string(bytes.TrimSpace(out)), err
	}
}

// hunted runs a command that must end by 1 and say a line that begins so, which is what
// found the fault.
func (q quarry) hunted(run func() (string, error), mark string) (string, error) {
	out, err := run()
	var exit *exec.ExitError
	if err == nil {
		return "", errAway
	}
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		return "", fmt.Errorf("%w: %s", err, out[max(0, len(out)-textColumn):])
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, mark) {
			return line, nil
		}
	}
	return "", fmt.Errorf("it failed by something else: %s", out[max(0, len(out)-textColumn):])
}
