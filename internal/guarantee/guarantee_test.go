package guarantee_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/guarantee"
	"github.com/posthorn/posthorn/internal/runs"
)

// root is the repository.
const root = "../.."

func TestEachTestThatIsNamedExists(t *testing.T) {
	for _, g := range guarantee.Guarantees() {
		if len(g.Cases) == 0 {
			t.Errorf("nothing shows %s", g.ID)
		}
		for _, c := range g.Cases {
			if len(c.Tests) == 0 {
				t.Errorf("%s: nothing shows it under %s", g.ID, c.Fault)
			}
			for _, named := range c.Tests {
				wantTest(t, named)
			}
		}
	}
}

func wantTest(t *testing.T, named guarantee.Test) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, named.File))
	if err != nil || !bytes.Contains(text, []byte("\nfunc "+named.Name+"(t *testing.T)")) {
		t.Errorf("there is no %s in %s (%v)", named.Name, named.File, err)
	}
}

func TestThePageIsWhatTheRecordSays(t *testing.T) {
	rs, err := runs.Read(filepath.Join(root, "docs/guarantees.json"))
	if err != nil || len(rs) == 0 {
		t.Fatalf("the record: %d runs, %v", len(rs), err)
	}
	var want bytes.Buffer
	if err := guarantee.Write(&want, rs); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "docs/guarantees.md"))
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/guarantees.md is not what make guarantees writes (%v)", err)
	}
	for _, r := range rs {
		if r.Weakened == "" && !r.Held() {
			t.Errorf("the record says that a guarantee is broken: %+v", r)
		}
		if r.Weakened != "" && r.Lost == 0 {
			t.Errorf("the record has a control that lost nothing: %+v", r)
		}
	}
}

func TestWhatHasNoRunSaysSo(t *testing.T) {
	var page strings.Builder
	if err := guarantee.Write(&page, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "no recorded run") || strings.Contains(page.String(), " times, ") {
		t.Error("a page without a record has figures")
	}
}

func TestAReportOfTortureIsARunOfEachFaultThatItInjected(t *testing.T) {
	rs, err := guarantee.Decode([]byte(`{"kind": "TortureReport", "summary": {"report": {
		"store": "mysql", "durability": "power-safe",
		"messages": {"accepted": 1234}, "findings": [{}], "host": {"go": "go1"}, "faults": [
		{"fault": "P-1", "injected": 7, "worst_ns": 1500000000}, {"fault": "D-1", "injected": 0}],
		"operations": {"made": 5}, "processes": {"executors": 1}}}}`))
	if err != nil || len(rs) != 2 || rs[0].Held() || rs[1].Fault != "O" || rs[1].Times != 5 {
		t.Fatalf("%+v, %v", rs, err)
	}
	want := "torture: 7 times, 1,234 messages, 0 lost, 0 doubled, 1 other findings; work went on within 1.5 s; 0001-01-01"
	if got := guarantee.Figure(rs[0]); got != want {
		t.Errorf("figure is %q", got)
	}
	rs, err = guarantee.Decode([]byte(`{"summary": {"report": {"store": "mysql", "messages": {"accepted": 9},
		"faults": [{"fault": "M-15", "injected": 7}], "operations": {"made": 5}, "processes": {"executors": 0}}}}`))
	if err != nil || len(rs) != 1 || rs[0].Fault != "M-15" {
		t.Errorf("operations to which nothing has happened are a run: %+v, %v", rs, err)
	}
	for _, bad := range []string{"{}", "", `{"summary": {"report": {}}}`, "nonsense"} {
		if _, err := guarantee.Decode([]byte(bad)); err == nil {
			t.Errorf("%q is a run", bad)
		}
	}
}
