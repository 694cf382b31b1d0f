package tidy

import (
	"path"
	"strings"
)

// A floor gives packages their place: a package imports only lower floors. A
// directory that ends in /* stands for everything below it; an exact directory
// wins over that, and a longer one over a shorter one.
type floor struct {
	dir   string
	level int
}

// floors is the whole building; docs/ARCHITECTURE.md says what lives where.
func floors() []floor {
	return []floor{
		{"driver", 0},

		{"drivertest", 1}, {"store", 1}, {"store/*", 1}, {"transport/*", 1}, {"internal/*", 1},

		{".", 2}, // package posthorn

		{"worker", 3}, {"worker/*", 3}, {"failure", 3}, {"failure/view", 3},
		{"middleware", 3}, {"tracing", 3}, {"supervisor", 3},

		{"monitor", 4}, {"alert", 4}, {"metrics", 4}, {"torture/*", 4}, {"internal/isolation", 4}, {"failure/api", 4},

		{"internal/config", 5}, {"internal/sim", 5}, {"web", 5}, {"torture", 5},

		{"transport/open", 6}, {"cli", 6}, {"cli/*", 6}, {"cmd/*", 6}, {"internal/sim/play", 6}, {"examples/*", 6},
	}
}

// A passage is a way between two packages of the same floor. Within a passage
// the compiler's ban on cycles is enough.
type passage struct{ from, to string }

// passages are the only ways that do not lead down.
func passages() []passage {
	return []passage{
		{"store/*", "store"},                                  // a dialect is given to the core
		{"store/*", "store/guard"}, {"store/*", "store/pool"}, // what dialects share
		{"drivertest", "internal/*"}, {"store", "internal/*"}, {"store/*", "internal/*"},
		{"transport/*", "internal/*"}, {"internal/*", "internal/*"},
		{"failure/view", "failure"}, // it is the shape of what failure tells
		{"alert", "monitor"},        // what alerts tell are the monitor's conditions, in its words
		{"worker", "worker/*"}, {"cli", "cli/*"}, {"cli/*", "cli/*"}, {"cli", "transport/open"}, {"cli/*", "transport/open"},
		{"cmd/*", "cli"}, {"examples/*", "cli"}, {"examples/*", "transport/open"},
	}
}

// standalone are the packages that import nothing of the project.
func standalone(dir string) bool { return dir == "driver" || dir == "supervisor" }

// levelOf finds the floor of a package's directory.
func levelOf(dir string) (level int, ok bool) {
	best := -1
	for _, f := range floors() {
		if covers(f.dir, dir) && (f.dir == dir || len(f.dir) > best) {
			best, level = len(f.dir), f.level
		}
		if f.dir == dir {
			break
		}
	}
	return level, best >= 0
}

// covers reports whether a directory, or with /* what is below it, holds dir.
func covers(pattern, dir string) bool {
	if above, found := strings.CutSuffix(pattern, "*"); found {
		return strings.HasPrefix(dir, above)
	}
	return pattern == dir
}

// checkFloor looks at what a package imports. Tests may import anything: they
// are built apart, and a dialect's test needs the suite that is beside it.
func checkFloor(f *file, add report) {
	if f.test {
		return
	}
	if _, ok := levelOf(f.dir); !ok {
		add(f.tree.Package, "package %s has no floor: give it a floor in internal/tidy/floors.go", f.dir)
		return
	}
	for _, spec := range f.tree.Imports {
		if text := importProblem(f.dir, importPath(spec)); text != "" {
			add(spec.Pos(), "%s", text)
		}
	}
}

// importProblem says what is wrong with an import, or "".
func importProblem(from, imported string) string {
	to, ours := projectDir(imported)
	if !ours {
		if from == "driver" && strings.Contains(strings.Split(imported, "/")[0], ".") {
			return "driver imports only the standard library, not " + imported
		}
		return ""
	}
	if standalone(from) {
		return from + " imports nothing of the project, but it imports " + to
	}
	low, ok := levelOf(to)
	if !ok {
		return "imported package " + to + " has no floor: give it a floor in internal/tidy/floors.go"
	}
	if high, _ := levelOf(from); low < high || low == high && mayPass(from, to) {
		return ""
	}
	return "import climbs: " + from + " must not import " + to + ", which is not on a lower floor"
}

// projectDir turns an import path into a directory of the module.
func projectDir(imported string) (dir string, ours bool) {
	if imported == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imported, modulePath+"/")
}

func mayPass(from, to string) bool {
	if tree := exampleOf(from); tree != "" && tree == exampleOf(to) {
		return true // an example is a program of its own
	}
	for _, p := range passages() {
		if covers(p.from, from) && covers(p.to, to) {
			return true
		}
	}
	return false
}

// exampleOf is the example or the command that a directory belongs to, or "".
func exampleOf(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) < 2 || parts[0] != "examples" && parts[0] != "cmd" {
		return ""
	}
	return path.Join(parts[:2]...)
}
