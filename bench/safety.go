package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/safety"
)

// A variant is a build of this program in which Posthorn lacks safety features. It
// is measured as a worker process, beside one of the program itself.
type variant struct {
	key     string
	title   string
	without []string
}

// variants are the builds that are compared.
func variants() []variant {
	var all []variant
	for _, f := range safety.Features() {
		all = append(all, variant{f.Name, f.Name, []string{f.Name}})
	}
	return append(all, variant{loopKey, "fencing, leases and history together", []string{"fencing", "leases", "history"}})
}

// A burden is a load under which the features are measured.
type burden struct {
	key, title string
	order
	of []string // the variants; nil: all
}

func burdens() []burden {
	return []burden{
		{key: "noop", title: "handle, no-op"},
		{key: "tx", title: "handle, one INSERT", order: order{Insert: true}},
		{
			key: "fail", title: "handle, one INSERT, 10 % fail once", order: order{Insert: true, Failing: 10},
			of: []string{"history"},
		},
	}
}

// measures reports whether a variant is measured under the burden.
func (u burden) measures(v variant) bool { return u.of == nil || slices.Contains(u.of, v.key) }

// safetyWorks tell what the safety features cost.
func safetyWorks() []work {
	w := work{
		name: "safety", of: []string{ours}, once: true, asked: true, linux: true, patience: longPatience,
		run: safetyCosts,
	}
	for _, u := range burdens() {
		for _, v := range variants() {
			if u.measures(v) {
				title := fmt.Sprintf("%s: all promises kept, against a build without %s", u.title, v.title)
				w.figures = append(w.figures, figure{u.key + "_" + v.key, title, times})
			}
		}
	}
	for _, u := range burdens()[:2] {
		title := u.title + ": CPU of the worker process, against a build without fencing, leases and history"
		w.figures = append(w.figures, figure{u.key + "_" + loopKey + cpuKey, title, times})
	}
	return []work{w}
}

// loopKey is the variant without all that the loop of a message pays for, and cpuKey
// ends the keys of figures about the CPU of the worker process.
const (
	loopKey = "loop"
	cpuKey  = "_cpu"
)

// safetyCosts measures the program and its variants in turns.
func safetyCosts(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	built := map[string]string{}
	for _, v := range variants() {
		program, err := v.build(ctx, r.dir)
		if err != nil {
			return nil, err
		}
		built[v.key] = program
	}
	ratios := map[string][]float64{}
	for _, u := range burdens() {
		for range r.turns() {
			if err := u.turn(ctx, r, s, ratiosOf{ratios, built}); err != nil {
				return nil, err
			}
		}
	}
	figures := map[string]float64{}
	for key, found := range ratios {
		figures[key] = median(found)
	}
	return figures, nil
}

// turns is how often the builds of a burden take turns: a single run says little
// about a few percent.
func (r *rig) turns() int {
	if r.mode == modeFull {
		return 5
	}
	return 2
}

// ratiosOf are the ratios found so far, and the programs of the variants.
type ratiosOf struct {
	found map[string][]float64
	built map[string]string
}

// turn measures the variants between two runs of the program itself, so that the
// mood of the machine meets both.
func (u burden) turn(ctx context.Context, r *rig, s system, to ratiosOf) error {
	before, err := u.pace(ctx, r, s, variant{})
	if err != nil {
		return err
	}
	without := map[string]pace{}
	for _, v := range variants() {
		if !u.measures(v) {
			continue
		}
		u.program = to.built[v.key]
		if without[u.key+"_"+v.key], err = u.pace(ctx, r, s, v); err != nil {
			return fmt.Errorf("without %s: %w", v.title, err)
		}
	}
	u.program = ""
	after, err := u.pace(ctx, r, s, variant{})
	if err != nil {
		return err
	}
	for key, p := range without {
		to.found[key] = append(to.found[key], (before.rate+after.rate)/2/p.rate)
		to.found[key+cpuKey] = append(to.found[key+cpuKey], (before.cpu+after.cpu)/2/p.cpu)
	}
	return nil
}

// A pace is what a run of a worker process showed.
type pace struct{ rate, cpu float64 }

// pace is how fast a worker process of the burden's program drains a backlog.
func (u burden) pace(ctx context.Context, r *rig, s system, v variant) (p pace, err error) {
	l := load{insert: u.Insert}
	err = r.with(ctx, s, l, func(b bus, address string) error {
		u.subject, u.Address, u.Messages, u.History = s.subject, address, r.backlog(s, l), true
		if err := preload(ctx, b, u.Messages); err != nil {
			return err
		}
		run, err := crew(ctx, b, u.order, team{1, u.Messages})
		if err == nil && !slices.Equal(run.without, v.without) {
			err = fmt.Errorf("the build lacks %v, want %v", run.without, v.without)
		}
		p = pace{wholeRate(run), run.cpu.Seconds()}
		return err
	})
	return p, err
}

// missing are the safety features that this build lacks.
func missing() (names []string) {
	for _, f := range safety.Features() {
		if !f.On {
			names = append(names, f.Name)
		}
	}
	return names
}

// build builds the variant, unless it was built before.
func (v variant) build(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "bench-"+v.key)
	tags := make([]string, len(v.without))
	for i, name := range v.without {
		tags[i] = safety.TagPrefix + name
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags="+strings.Join(tags, ","), "-o", program,
		"github.com/posthorn/posthorn/bench")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build without %s: %w: %s", v.title, err, said),
			errors.New("this work needs the program's source: run it in bench/, by go run"))
	}
	return program, nil
}
