package safety_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/safety"
)

func TestANormalBuildHasEverySafetyFeature(t *testing.T) {
	for _, f := range safety.Features() {
		if !f.On {
			t.Errorf("%s is off: this build does not %s", f.Name, f.About)
		}
	}
}
