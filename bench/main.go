// Command bench measures Posthorn on each of its stores, beside the peers that
// use the same store, in one run.
//
//	go run .                    the table: one round of about five minutes
//	go run . -full              three rounds and larger backlogs: about 25 minutes
//	go run . -quick             less than a minute: shows that everything works
//	go run . -json              one JSON line for each run, instead of the table
//	go run . -only handle       one or some of the works, with commas
//	go run . -stores postgres   one or some of the stores, with commas
//	go run . -page ../docs      performance.md and its plot, too
//	go run . -record f          all that was found, too; -from f shows it again
//
// PostgreSQL, MariaDB and Redis are private servers, started from the installed
// programs; but for one of two of Redis, with settings that lose nothing.
//
// Peers and Posthorn alternate within each round, and ratios are taken within
// a round. The program starts itself as the worker process where it needs one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// A flags is the command line.
type flags struct {
	quick, full, json     bool
	rounds                int
	only, stores, systems string
	dir, profiled         string
	record, from, page    string
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == asWorker {
		return obey(ctx, args[1])
	}
	f, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.from != "" {
		return f.show()
	}
	stop, err := profile(f.profiled)
	if err != nil {
		return err
	}
	return errors.Join(f.bench(ctx), stop())
}

// bench does what the flags ask for.
func (f flags) bench(ctx context.Context) error {
	r, err := f.rig()
	if err != nil {
		return err
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	return errors.Join(measure(ctx, f, r), r.close())
}

func parse(args []string) (f flags, err error) {
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.BoolVar(&f.quick, "quick", false, "a smoke run of less than a minute; its figures mean nothing")
	set.BoolVar(&f.full, "full", false, "three rounds, and backlogs of up to a million messages")
	set.BoolVar(&f.json, "json", false, "write one JSON line for each run to standard output, and no table")
	set.IntVar(&f.rounds, "rounds", 0, "number of rounds (default 1, with -full 3)")
	set.StringVar(&f.only, "only", "", "works to run, with commas: "+strings.Join(workNames(), ", "))
	set.StringVar(&f.stores, "stores", "", "stores to measure, with commas: "+strings.Join(storeNames(), ", "))
	set.StringVar(&f.systems, "systems", "", "systems to measure, with commas: "+strings.Join(systemNames(), ", "))
	set.StringVar(&f.dir, "dir", "", "where the databases are made; not on tmpfs (default the temporary directory)")
	set.StringVar(&f.record, "record", "", "write all that was found to this `file`, as JSON lines, too")
	set.StringVar(&f.from, "from", "", "measure nothing: show what was recorded in this `file`")
	set.StringVar(&f.page, "page", "", "write performance.md and performance.svg to this `directory`, too")
	set.StringVar(&f.profiled, "cpuprofile", "", "write a CPU profile of this process to this `file`")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("argument %q is not known; see -help", set.Arg(0))
	}
	return f, nil
}

// allWorks lists the works in the order of the table.
func allWorks(s sizes) []work {
	return slices.Concat(dispatchWorks(), handleWorks(), failingWorks(), processWorks(), crewWorks(), backlogWorks(s),
		safetyWorks())
}

func workNames() []string {
	var names []string
	for _, w := range allWorks(usualSizes()) {
		names = append(names, w.name)
	}
	return names
}

func systemNames() []string {
	var names []string
	for _, s := range systems() {
		if !slices.Contains(names, s.System) {
			names = append(names, s.System)
		}
	}
	return append(names, rawName)
}

func storeNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// sizes are those of the mode.
func (f flags) sizes() sizes {
	switch {
	case f.quick:
		return quickSizes()
	case f.full:
		return fullSizes()
	}
	return usualSizes()
}

// rig builds what the flags ask for.
func (f flags) rig() (*rig, error) {
	r := &rig{sizes: f.sizes(), told: os.Stderr}
	if f.rounds > 0 {
		r.rounds = f.rounds
	}
	wantedWork, err1 := choose("work", f.only, workNames())
	wantedStore, err2 := choose("store", f.stores, storeNames())
	wantedSystem, err3 := choose("system", f.systems, systemNames())
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	for _, w := range allWorks(r.sizes) {
		left := r.mode == modeQuick && w.twin || w.asked && r.mode != modeFull && f.only == ""
		if wantedWork(w.name) && (!w.linux || hasProc()) && !left {
			r.works = append(r.works, w)
		}
	}
	r.rawToo = wantedSystem(rawName)
	for _, s := range systems() {
		if wantedStore(s.Store) && wantedSystem(s.System) && (!s.asked || f.systems != "") {
			r.systems = append(r.systems, s)
		}
	}
	for _, k := range kinds() {
		if wantedStore(k.name) && (r.rawToo || len(r.on(k)) > 0) {
			r.kinds = append(r.kinds, k)
		}
	}
	var err error
	if r.dir, err = os.MkdirTemp(f.dir, "posthorn-bench-"); err != nil {
		return nil, err
	}
	return r, os.Chmod(r.dir, 0o711) //nolint:gosec // a server's own user passes through to its data
}

// choose reads a list of names; an empty one wants all.
func choose(what, list string, known []string) (wanted func(string) bool, err error) {
	if list == "" {
		return func(string) bool { return true }, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no %s %q; there are %s", what, name, strings.Join(known, ", "))
		}
	}
	return func(name string) bool { return slices.Contains(names, name) }, nil
}

// measure runs everything and writes what came out.
func measure(ctx context.Context, f flags, r *rig) (err error) {
	m := thisMachine(r.dir)
	lines, finish, err := f.lines()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish()) }()
	var found results
	var unwritten error
	r.emit = func(res result) {
		found = append(found, res)
		unwritten = errors.Join(unwritten, lines.Encode(res))
	}
	if err := errors.Join(r.all(ctx), unwritten); err != nil {
		return err
	}
	m.LoadAfter = loadAverage()
	d := r.document(m, found)
	if err := lines.Encode(lastLine{d}); err != nil {
		return err
	}
	return errors.Join(f.publish(d), errors.Join(r.failed...))
}

// lines is where runs are written as they end, one JSON line each.
func (f flags) lines() (*json.Encoder, func() error, error) {
	var to []io.Writer
	finish := func() error { return nil }
	if f.json {
		to = append(to, os.Stdout)
	}
	if f.record != "" {
		file, err := os.Create(f.record)
		if err != nil {
			return nil, nil, err
		}
		to, finish = append(to, file), file.Close
	}
	return json.NewEncoder(io.MultiWriter(to...)), finish, nil
}

// publish writes the page and the table.
func (f flags) publish(d document) error {
	if f.page != "" {
		if err := d.writePage(f.page); err != nil {
			return err
		}
	}
	if f.json {
		return nil
	}
	return d.write(os.Stdout)
}

// show publishes what was recorded.
func (f flags) show() error {
	file, err := os.Open(f.from)
	if err != nil {
		return err
	}
	d, err := readRecord(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("read %s: %w", f.from, err)
	}
	return f.publish(d)
}

// profile starts a CPU profile; stop writes it.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
