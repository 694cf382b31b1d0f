package runs_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
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
	if h.Server != "SQLite 3" || h.Commit == "" || h.Go == "" ||
		h.System == "" || h.CPUs == 0 || time.Since(h.Time) > time.Hour {
		t.Errorf("%+v", h)
	}
}

// What the build does not say is unknown, whatever tree the run happens to stand in.
func TestTheCommitIsWhatTheBuildSays(t *testing.T) {
	const ours = "github.com/posthorn/posthorn"
	setting := func(pairs ...string) (out []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	dep := func(m debug.Module) []*debug.Module { return []*debug.Module{{Path: "other"}, &m} }
	for want, info := range map[string]debug.BuildInfo{
		"012345678+": {
			Main:     debug.Module{Path: ours, Version: "(devel)"},
			Settings: setting("vcs.revision", "0123456789abcdef", "vcs.modified", "true"),
		},
		"v1.2.3": {Main: debug.Module{Path: ours, Version: "v1.2.3"}}, // go install
		"v1.2.4": {Main: debug.Module{Path: "shop"}, Deps: dep(debug.Module{Path: ours, Version: "v1.2.4"})},
		"v1.2.5": {Main: debug.Module{Path: "shop"}, Deps: dep(debug.Module{
			Path: ours, Version: "v1.2.4", Replace: &debug.Module{Path: "fork", Version: "v1.2.5"},
		})},
	} {
		if got := runs.CommitOf(&info); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, info := range []debug.BuildInfo{
		{Main: debug.Module{Path: ours}}, // -buildvcs=false
		{Main: debug.Module{Path: ours, Version: "(devel)"}},
		{Main: debug.Module{Path: "shop"}},
		{Main: debug.Module{Path: "shop"}, Deps: dep(debug.Module{
			Path: ours, Version: "v1.2.4", Replace: &debug.Module{Path: "../posthorn"},
		})},
	} {
		if got := runs.CommitOf(&info); got != "unknown" {
			t.Errorf("%+v: %q, want unknown", info, got)
		}
	}
}
