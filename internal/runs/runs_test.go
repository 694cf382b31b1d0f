package runs_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/runs"
)

// at is a run of a fault at a time.
func at(fault string, hours, times int) runs.Run {
	when := time.Date(2026, 1, 1, hours, 0, 0, 0, time.UTC)
	return runs.Run{Check: "sweep", Fault: fault, Store: "sqlite", Times: times, Host: runs.Host{Time: when}}
}

func TestANewerRunTakesThePlaceOfAnOlderOneAndNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.json")
	for _, r := range []runs.Run{at("P-3", 2, 20), at("P-2", 1, 7), at("P-3", 1, 10), at("P-3", 3, 30)} {
		if err := runs.Add(path, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := runs.Read(path)
	if err != nil || len(got) != 2 || got[0].Fault != "P-2" || got[1].Times != 30 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnOlderRunDoesNotReplaceANewerOne(t *testing.T) {
	got := runs.Merge([]runs.Run{at("P-3", 2, 20)}, at("P-3", 1, 10))
	if len(got) != 1 || got[0].Times != 20 {
		t.Errorf("%+v", got)
	}
}

func TestAControlIsARunOfItsOwn(t *testing.T) {
	weak := at("D-2", 1, 5)
	weak.Weakened, weak.Lost = "fsync=off", 3
	if got := runs.Merge([]runs.Run{at("D-2", 2, 50)}, weak); len(got) != 2 || weak.Held() || !got[0].Held() {
		t.Errorf("%+v", got)
	}
}

func TestAMalformedRecordIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runs.Add(path, at("P-3", 1, 1)); err == nil {
		t.Error("a malformed record was overwritten")
	}
}

func TestARunSaysWhereAndOfWhatItWas(t *testing.T) {
	h := runs.Here("SQLite 3")
	if h.Server != "SQLite 3" || h.Go == "" || h.System == "" || h.CPUs == 0 || time.Since(h.Time) > time.Hour {
		t.Errorf("%+v", h)
	}
}
