package safety_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/safety"
)

// withoutGuard is the tag of a build whose handlers can say commit.
const withoutGuard = safety.TagPrefix + "guard"

// A planted fault is a build in which a test of the suite must fail.
type planted struct{ tags, pkg, test string }

// failing are those of the settlement that was moved behind its effect.
func failing() []planted {
	return []planted{
		{safety.PlantedSettleLast, "./store/sqlite", "TestEffectOfALostClaimIsNotRun"},
		{safety.PlantedSettleLast + "," + withoutGuard, "./store/sqlite", "TestACommitByHandIsNeverWithoutItsSettlement"},
		{safety.PlantedSettleLast, "./store/mysql", "TestWhatAProcedureEndsIsFoundAndNothingIsDoubled"},
	}
}

func TestASettlementAfterItsEffectIsFoundByTheSuite(t *testing.T) {
	for _, p := range failing() {
		t.Run(p.test, func(t *testing.T) {
			out := p.run(t)
			switch {
			case strings.Contains(out, "--- SKIP: "+p.test):
				t.Skipf("%s needs a server", p.test)
			case !strings.Contains(out, "--- FAIL: "+p.test):
				t.Errorf("built with %s, %s does not fail:\n%s", p.tags, p.test, out)
			}
		})
	}
}

func TestTheOrderOfStatementsAloneKeepsEffectAndSettlementTogether(t *testing.T) {
	p := planted{withoutGuard, "./store/sqlite", "TestACommitByHandIsNeverWithoutItsSettlement"}
	if out := p.run(t); !strings.Contains(out, "--- PASS: "+p.test) {
		t.Errorf("without the guard, %s does not pass:\n%s", p.test, out)
	}
}

// run builds and runs the test, and returns what it said.
func (p planted) run(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-timeout=60s", "-tags="+p.tags,
		"-run=^"+p.test+"$", p.pkg)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil || !strings.Contains(string(out), "=== RUN") {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

func TestATagLeavesOutOneFeature(t *testing.T) {
	for _, f := range safety.Features() {
		p := planted{safety.TagPrefix + f.Name, "./internal/safety", "TestANormalBuildHasEverySafetyFeature"}
		out := p.run(t)
		if strings.Count(out, " is off") != 1 || !strings.Contains(out, f.Name+" is off") {
			t.Errorf("built with %s:\n%s", p.tags, out)
		}
	}
}
