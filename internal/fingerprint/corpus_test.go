package fingerprint_test

import (
	"os"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/fingerprint"
)

// A sample is an error of the corpus, and the group it belongs to.
type sample struct{ group, normal string }

func corpus(t *testing.T, name string) (out []sample) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		group, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ok && !strings.HasPrefix(line, "#") {
			out = append(out, sample{group, fingerprint.Normal(text)})
		}
	}
	return out
}

// judge compares all pairs: precision is the part of those put together that belong
// together, recall the part of those that belong together that were put together.
func judge(t *testing.T, ss []sample) (precision, recall float64) {
	t.Helper()
	var right, put, belong float64
	for i, a := range ss {
		for _, b := range ss[i+1:] {
			same, together := a.group == b.group, a.normal == b.normal
			if same {
				belong++
			}
			if together {
				put++
			}
			switch {
			case same && together:
				right++
			case same:
				t.Logf("apart: %s\n  %s\n  %s", a.group, a.normal, b.normal)
			case together:
				t.Logf("together: %s and %s\n  %s", a.group, b.group, a.normal)
			}
		}
	}
	return right / put, right / belong
}

// The floors are a little below what was measured when the rules were made (1.000 and 1.000;
// held out 1.000 and 0.952): a wrong join hides a fault, a wrong split only shows it twice.
func TestErrorsOfOneFaultAreGroupedAndOthersAreNot(t *testing.T) {
	for name, floor := range map[string]struct{ precision, recall float64 }{
		"errors.txt": {0.99, 0.97}, "held_out.txt": {0.97, 0.9},
	} {
		ss := corpus(t, name)
		p, r := judge(t, ss)
		t.Logf("%s: %d errors, precision %.3f, recall %.3f", name, len(ss), p, r)
		if p < floor.precision || r < floor.recall {
			t.Errorf("%s: precision %.3f, want %.3f; recall %.3f, want %.3f", name, p, floor.precision, r, floor.recall)
		}
	}
}
