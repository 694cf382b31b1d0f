package tidy_test

import (
	"fmt"
	"testing"
)

func TestAPackageImportsOnlyLowerFloors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"worker", "driver", true},
		{"worker", "store/sqlite", true},
		{"worker", "", true},
		{"monitor", "worker", true},
		{"web", "metrics", true},
		{"cli", "internal/config", true},
		{"cmd/posthorn", "web", true},

		{"driver", "internal/backoff", false},
		{"driver", "", false},
		{"store", "", false},
		{"", "worker", false},
		{"worker", "monitor", false},
		{"worker", "failure", false},
		{"metrics", "monitor", false},
		{"monitor", "internal/config", false},
		{"internal/testserver", "internal/config", false},
		{"transport/memory", "transport/open", false},
		{"web", "cli", false},
	} {
		checkImport(t, c.from, c.to, c.allowed)
	}
}

func TestAFewNeighboursMayMeetOnOneFloor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"store/sqlite", "store", true},
		{"store/sqlite", "internal/migrate", true},
		{"internal/testserver", "internal/proxy", true},
		{"cli", "transport/open", true},
		{"cmd/posthorn", "cli", true},
		{"examples/unsubscribe", "cli", true},
		{"examples/unsubscribe", "examples/unsubscribe/mail", true},
		{"examples/unsubscribe/mail", "examples/unsubscribe/mail/samples", true},

		{"store", "store/sqlite", false},
		{"store/postgres", "store/sqlite", false},
		{"internal/migrate", "store", false},
		{"drivertest", "transport/memory", false},
		{"examples/orders", "examples/unsubscribe/mail", false},
		{"cli", "cmd/posthorn", false},
		{"cli", "examples/unsubscribe", false},
		{"supervisor", "driver", false},
		{"supervisor", "internal/backoff", false},
	} {
		checkImport(t, c.from, c.to, c.allowed)
	}
}

func TestTheContractImportsOnlyTheStandardLibrary(t *testing.T) {
	t.Parallel()
	const source = "// Package driver is the contract.\npackage driver\n\nimport _ \"%s\"\n"
	wantProblems(t, files{"driver/a.go": fmt.Sprintf(source, "encoding/json")})
	wantProblems(t, files{"driver/a.go": fmt.Sprintf(source, "example.org/uuid")},
		"driver/a.go:4: driver imports only the standard library, not example.org/uuid")
}

func TestAnUnknownPackageAsksForAFloor(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{"attic/a.go": "// Package attic is new.\npackage attic\n"},
		"attic/a.go:2: package attic has no floor: give it a floor in internal/tidy/floors.go")
	wantProblems(t, files{"cli/a.go": "// Package cli is known.\npackage cli\n\nimport _ \"" + module + "/attic\"\n"},
		"cli/a.go:4: imported package attic has no floor: give it a floor in internal/tidy/floors.go")
}

func TestATestMayImportAnything(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{"driver/a_test.go": "package driver_test\n\nimport _ \"" + module + "/cli\"\n"})
}

// checkImport lets one package import another.
func checkImport(t *testing.T, from, to string, allowed bool) {
	t.Helper()
	dir, path := from, module
	if from == "" {
		dir = "."
	}
	if to != "" {
		path += "/" + to
	}
	got := check(t, files{dir + "/a.go": "// Package a is a room.\npackage a\n\nimport _ \"" + path + "\"\n"})
	if allowed != (len(got) == 0) {
		t.Errorf("%q imports %q: allowed is %t, but the problems are %q", from, to, allowed, got)
	}
}
