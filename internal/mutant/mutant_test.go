package mutant_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/mutant"
)

func TestANormalBuildHasNoPlantedFault(t *testing.T) {
	if mutant.Planted != "" {
		t.Errorf("this build has the fault %s", mutant.Planted)
	}
}
