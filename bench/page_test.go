package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sampleRecord is what a short run of two rounds on two stores has recorded.
const sampleRecord = "testdata/sample.jsonl"

// pageOfSample lets the program write the page of the sample.
func pageOfSample(t *testing.T) (page, plot string) {
	t.Helper()
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-from", sampleRecord, "-page", dir, "-json"}); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return read(pageName), read(plotName)
}

func TestThePageTellsWhatWasRecorded(t *testing.T) {
	page, _ := pageOfSample(t)
	for _, want := range []string{
		"Measured on 2026-11-28 02:02 UTC: 2 × amd64 AMD EPYC, 25 GB of memory, ext4; linux/amd64, go1.26.8;",
		"Medians of 2 interleaved round(s)",
		"](performance.svg)",
		"| PostgreSQL | Posthorn | River | gue | limit of the machine |\n",
		"| Redis, append-only file, fsync always | asynq |\n",
		// The median of two rounds, and the median of the rounds' ratios.
		"\n| handle, no-op handler, at least once | 5.1 k/s | 1.6 k/s | 637/s | 67.8 k/s |\n",
		"\n| postgres: handle, no-op | river | 3.7 × | 4.0 × | 10 × | below |\n",
		"\n| log of the server for a message, in and out | 1466 B | 3506 B | 676 B | – |\n",
		"- River (github.com/riverqueue/river v0.51.2): 1000 workers,",
		"`appendonly yes`, `appendfsync always`",
		"make bench-full ",
		"A quick run: it shows that everything works, its figures mean nothing.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestThePageSaysNotThereYetInsteadOfAFigure(t *testing.T) {
	page, _ := pageOfSample(t)
	for _, want := range []string{
		"\n| handle, one INSERT queued, committed with the completion | not there yet | – | – | – |\n",
		"\n| postgres: handle, one queued INSERT | river, handle-tx | – | 30 × | 45 × | not there yet |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q\n%s", want, page)
		}
	}
	if strings.Contains(page, "| dispatch one") {
		t.Error("the page has rows of works that were not asked for")
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Errorf("the page has figures that are none:\n%s", page)
	}
}

// A shape is an element of the plot.
type shape struct {
	name string
	attr map[string]string
}

func (s shape) number(t *testing.T, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s.attr[name], 64)
	if err != nil {
		t.Errorf("%v: %s: %v", s, name, err)
	}
	return v
}

// shapes reads the plot as XML.
func shapes(t *testing.T, plot string) []shape {
	t.Helper()
	var all []shape
	for d := xml.NewDecoder(strings.NewReader(plot)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, plot)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		s := shape{start.Name.Local, map[string]string{}}
		for _, a := range start.Attr {
			s.attr[a.Name.Local] = a.Value
		}
		all = append(all, s)
	}
}

func TestThePlotHasABarForEachGoalThatWasMeasured(t *testing.T) {
	_, plot := pageOfSample(t)
	classes := ""
	for _, s := range shapes(t, plot) {
		if class := s.attr["class"]; s.name == "rect" && class != "" {
			classes += class
			if end := s.number(t, "x") + s.number(t, "width"); end < plotLeft || end > plotLeft+plotSpan {
				t.Errorf("a bar ends at %v, beyond the scale", end)
			}
		}
	}
	// handle by River; handle-tx by River, gue; log; snapshot; latency p50, p99; CPU: all below their floors.
	if classes != "bbbbbbbb" {
		t.Errorf("bars are %q\n%s", classes, plot)
	}
}

func TestAGoalWithoutAFloorHasNoBar(t *testing.T) {
	rate := func(system string) result {
		return result{
			Round: 1, Work: "dispatch-many", subject: subject{"postgres", system}, Figures: map[string]float64{"rate": 5},
		}
	}
	d := document{results: results{rate(ours), rate(rawName)}}
	if got := d.reached(); len(got) != 1 || got[0].floor != 0 {
		t.Fatalf("%d goals are measured, want the one against the limit of the machine", len(got))
	}
	var plot strings.Builder
	d.plot(&plot)
	if strings.Contains(plot.String(), "class=") {
		t.Errorf("there is a bar:\n%s", plot.String())
	}
}

func TestTheScaleOfThePlotHasTheFloorInItsMiddle(t *testing.T) {
	const middle = plotLeft + plotSpan/2
	for multiple, want := range map[float64]float64{
		1: middle, 2: middle + plotSpan/6, 0.5: middle - plotSpan/6,
		0: plotLeft, 1e-9: plotLeft, 1e9: plotLeft + plotSpan, math.Inf(1): plotLeft + plotSpan,
	} {
		if got := plotX(multiple); math.Abs(got-want) > 1e-9 {
			t.Errorf("plotX(%v) = %v, want %v", multiple, got, want)
		}
	}
	most := reached{goal: goal{floor: 4}}
	least := reached{goal: goal{floor: 4, least: true}}
	if most.multiple(2) != 2 || least.multiple(2) != 0.5 {
		t.Errorf("half of a floor is %v and %v times as good, want 2 and 0.5", most.multiple(2), least.multiple(2))
	}
}

func TestARecordThatIsNoneIsAnError(t *testing.T) {
	const run = `{"round":1,"work":"handle","store":"sqlite","system":"raw","figures":{"rate":1}}` + "\n"
	for text, want := range map[string]string{
		"":                "its run did not end",
		run + run:         "its run did not end",
		run + `{"a":1}`:   "run 2: it is neither a run nor a document",
		run + "| a | b |": "run 2: invalid character '|'",
	} {
		_, err := readRecord(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("record %q: error is %v, want %q", text, err, want)
		}
	}
}

func TestAnOptionalStoreThatIsNotInstalledIsLeftOutWithTheReason(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var told strings.Builder
	r := &rig{sizes: quickSizes(), dir: t.TempDir(), kinds: []kind{redisKind()}, told: &told}
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := r.document(machine{}, nil).write(&page); err != nil {
		t.Fatal(err)
	}
	const why = "Not measured: launch Redis, default settings: redis-server is not installed; " +
		"run: scripts/setup.sh redis-server"
	for _, text := range []string{told.String(), page.String()} {
		if !strings.Contains(text, why) {
			t.Errorf("%q lacks the reason", text)
		}
	}
	if err := errors.Join(r.all(t.Context()), r.close()); err != nil {
		t.Errorf("the others cannot be measured: %v", err)
	}
}

func TestARunThatFailsIsToldAndTheOthersGoOn(t *testing.T) {
	fails := work{name: "fails", run: func(context.Context, *rig, system) (map[string]float64, error) {
		return nil, errors.New("it broke\nwith a long story")
	}}
	works := work{name: "works", run: func(context.Context, *rig, system) (map[string]float64, error) {
		return map[string]float64{"rate": 1}, nil
	}}
	k, here := kind{name: "here", title: "Here"}, system{subject: subject{"here", "system"}}
	var found results
	r := &rig{
		sizes: quickSizes(), told: io.Discard, works: []work{fails, works}, systems: []system{here},
		sites: []*site{{kind: k}}, emit: func(res result) { found = append(found, res) },
	}
	if err := r.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Work != "works" || len(r.failed) != 1 {
		t.Errorf("found %v, failed %v: want the work that works, and the one that fails", found, r.failed)
	}
	var page strings.Builder
	if err := r.document(machine{}, found).write(&page); err != nil {
		t.Fatal(err)
	}
	const want = "**Failed:** measure fails of system on here: it broke.\n"
	if !strings.Contains(page.String(), want) {
		t.Errorf("the page lacks %q:\n%s", want, page.String())
	}
}
