package tidy_test

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/posthorn/posthorn/internal/tidy"
)

const module = "github.com/posthorn/posthorn"

// bare is a file that breaks no rule; head begins one, and what follows it
// starts on line 4.
const (
	bare = "// Package worker is a room.\npackage worker\n"
	head = bare + "\n"
)

// files are the paths and sources of a small module.
type files map[string]string

func TestACleanFileHasNoProblems(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{"worker/a.go": head + `import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
)

// The sentinels.
var (
	ErrA = errors.New("a")
	ErrB = fmt.Errorf("b: %w", ErrA)
	ErrC = fmt.ErrUnsupported
)

var _ error = (*fault)(nil)

var word = regexp.MustCompile("a")

//go:embed a.sql
var schema string

// A fault is documented.
type fault struct{}

func (f *fault) Error() string { return schema + word.String() }

func add(a, b, c, d int) int { return a + b + c + d }
`})
}

func TestLongTextIsNamed(t *testing.T) {
	t.Parallel()
	line := "// " + strings.Repeat("ä", 118) + "\n"
	wantProblems(t, files{"worker/a.go": head + line}, "worker/a.go:4: line has 121 columns, more than 120")
	wantProblems(t, files{"worker/a.go": head + strings.Repeat("//\n", 397)})
	wantProblems(t, files{"worker/a.go": head + strings.Repeat("//\n", 398)},
		"worker/a.go:401: file has 401 lines, more than 400")
	wantProblems(t, files{"worker/a_test.go": head + strings.Repeat("//\n", 597)})
	wantProblems(t, files{"worker/a_test.go": head + strings.Repeat("//\n", 598)},
		"worker/a_test.go:601: file has 601 lines, more than 600")
	wantProblems(t, files{"worker/a.go": head + "const  a = 1\n"}, "worker/a.go:4: file is not formatted: run make fmt")
}

func TestLongFunctionsAreNamed(t *testing.T) {
	t.Parallel()
	short := strings.Repeat("func a() {}\n\n", 18) + "func b() {}\n"
	long := func(lines int) string {
		return "func long() {\n" + strings.Repeat("\t_ = 1\n", lines-2) + "}\n\n"
	}
	wantProblems(t, files{"worker/a.go": head + long(70) + short})
	wantProblems(t, files{"worker/a.go": head + long(71) + short},
		"worker/a.go:4: function long has 71 lines, more than 70")
	wantProblems(t, files{"worker/a.go": head + long(31) + long(30) + short})
	tooMany := head + long(31) + long(32) + long(31) + short
	wantProblems(t, files{"worker/a_test.go": tooMany},
		"worker/a_test.go:36: 3 of 22 functions are longer than 30 lines, more than one in ten; this is the longest")
	wantProblems(t, files{"worker/a.go": tooMany, "worker/a_test.go": head + short},
		"worker/a.go:36: 3 of 22 functions outside tests are longer than 30 lines, more than one in ten; "+
			"this is the longest")
}

func TestLongSignaturesAreNamed(t *testing.T) {
	t.Parallel()
	want := ":4: signature has 5 parameters, more than 4"
	wantBody(t, "func a(a, b, c, d, e int) {}\n", want)
	wantBody(t, "func a(a int, b ...func(a, b, c, d, e int)) {}\n", want)
	wantBody(t, "func (a fault) b(a, b, c, d int) {}\n")
	wantBody(t, "func a() {\n\tb(func(a, b, c, d, e int) {})\n}\n")
}

func TestDeepCodeIsNamed(t *testing.T) {
	t.Parallel()
	const frame = "func a(b bool, c []int) {\n\tif b {\n\t\tfor range c {\n\t\t\tselect {\n\t\t\tdefault:\n" +
		"%s\t\t\t}\n\t\t}\n\t}\n}\n"
	want := ":9: code is nested more than 3 levels deep"
	wantBody(t, fmt.Sprintf(frame, "\t\t\t\ta(b, c)\n"))
	wantBody(t, fmt.Sprintf(frame, "\t\t\t\tif b {\n\t\t\t\t\ta(b, c)\n\t\t\t\t}\n"), want)
	wantBody(t, fmt.Sprintf(frame, "\t\t\t\tswitch {\n\t\t\t\t}\n"), want)
	wantBody(t, fmt.Sprintf(frame, "\t\t\t\tdefer func() {\n\t\t\t\t}()\n"), want)
	const chain = "func a(b int) {\n\tif b == 1 {\n\t} else if b == 2 {\n\t} else if b == 3 {\n\t} else if b == 4 {\n" +
		"\t} else {\n"
	wantBody(t, chain+"\t\tfor {\n\t\t\tfor {\n\t\t\t}\n\t\t}\n\t}\n}\n")
	wantBody(t, chain+"\t\tfor {\n\t\t\tfor {\n\t\t\t\tfor {\n\t\t\t\t}\n\t\t\t}\n\t\t}\n\t}\n}\n",
		":12: code is nested more than 3 levels deep")
}

func TestMissingCommentsAreNamed(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{"worker/a.go": "package worker\n", "worker/b.go": "package worker\n"},
		"worker/a.go:1: package worker has no comment")
	wantProblems(t, files{"worker/a.go": "package worker\n", "worker/b.go": bare})
	wantBody(t, "func A() {}\n", ":4: exported function A has no comment")
	wantBody(t, "//nolint:all\nfunc A() {}\n", ":5: exported function A has no comment")
	wantBody(t, "func (F) A() {}\n", ":4: exported function A has no comment")
	wantBody(t, "func (f *F[T]) A() {}\n", ":4: exported function A has no comment")
	wantBody(t, "func (f *f[T, U]) A() {}\n\nfunc (f *F) a() {}\n")
	wantBody(t, "const a, B = 1, 2\n", ":4: exported name B has no comment")
	wantBody(t, "const (\n\tA = 1 // is one\n\tB = 2\n)\n", ":6: exported name B has no comment")
	wantBody(t, "// The numbers.\nconst (\n\tA = 1\n\tB = 2\n)\n")
	wantBody(t, "type a struct{}\n", ":4: type a has no comment")
	wantBody(t, "// The types.\ntype (\n\ta int\n\t// B is one.\n\tB int\n)\n", ":6: type a has no comment")
	wantProblems(t, files{"worker/a_test.go": "package worker_test\n\nfunc TestA() {}\n\ntype a int\n"},
		"worker/a_test.go:5: type a has no comment")
}

func TestEmptyWordsAreNamed(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{"internal/testutil/a.go": "// Package testutil is.\npackage testutil\n"},
		"internal/testutil/a.go:2: package name testutil says nothing: avoid testutil")
	wantProblems(t, files{"worker/queue_helpers.go": bare},
		"worker/queue_helpers.go:2: file name queue_helpers.go says nothing: avoid helpers")
	const comment = "// It is here.\n"
	wantBody(t, comment+"type queueManager int\n", ":5: type name queueManager says nothing: avoid manager")
	wantBody(t, comment+"type HTTPUtil int\n", ":5: type name HTTPUtil says nothing: avoid util")
	wantBody(t, comment+"type Tasks int\n", ":5: type name Tasks says nothing: avoid tasks")
	wantBody(t, comment+"type baseStore int\n", ":5: type name baseStore says nothing: avoid base")
	wantBody(t, comment+"type database int\n\n"+comment+"type Itemized int\n\n"+comment+"type _x int\n")
	wantBody(t, "func a() {\n\ttype item int\n}\n", ":5: type name item says nothing: avoid item")
}

func TestWorkPutOffIsNamed(t *testing.T) {
	t.Parallel()
	for _, mark := range []string{"TODO", "FIXME", "XXX"} {
		wantBody(t, "// "+mark+": later\nconst a = 1\n", ":4: comment puts work off: "+mark)
		wantBody(t, "/*\n"+mark+" */\n", ":5: comment puts work off: "+mark)
		wantBody(t, "const a = \""+mark+"\" // "+mark+"X\n")
	}
}

func TestStateAndInitAreNamed(t *testing.T) {
	t.Parallel()
	wantBody(t, "func init() {}\n", ":4: init runs unasked: let main or a constructor call it")
	wantProblems(t, files{"worker/a_test.go": head + "func init() {}\n\nvar a = 1\n"},
		"worker/a_test.go:4: init runs unasked: let main or a constructor call it")
	want := " belongs to the whole package: make it a constant, a function or a field"
	wantBody(t, "var a int\n", ":4: variable a"+want)
	wantBody(t, "var a = map[int]int{}\n", ":4: variable a"+want)
	wantBody(t, "var a, b = errors()\n", ":4: variable a"+want, ":4: variable b"+want)
	wantBody(t, "import \"example.org/errors\"\n\nvar a = errors.New()\n", ":6: variable a"+want)
	wantBody(t, "func a() {\n\tvar b int\n}\n\nfunc (f) init() {}\n")
}

func TestSleepAndLooseGoroutinesAreNamed(t *testing.T) {
	t.Parallel()
	const source = "import %s\"time\"\n\nfunc a() {\n\t%s.Sleep(time.Second)\n}\n"
	want := ":7: time.Sleep cannot be interrupted: wait for a timer or the context"
	wantBody(t, fmt.Sprintf(source, "", "time"), want)
	wantBody(t, fmt.Sprintf(source, "clock ", "clock"), want)
	wantBody(t, fmt.Sprintf(source, "", "bed"))
	wantBody(t, "func a() {\n\tgo func() {\n\t}()\n\tgo a()\n}\n",
		":5: go statement starts what nothing waits for: use sync.WaitGroup.Go",
		":7: go statement starts what nothing waits for: use sync.WaitGroup.Go")
	wantProblems(t, files{"worker/a_test.go": head + "import \"time\"\n\nfunc a() {\n\tgo time.Sleep(1)\n}\n"})
}

func TestAFileThatDoesNotParseIsNamed(t *testing.T) {
	t.Parallel()
	wantBody(t, "func {\n", ":4: expected 'IDENT', found '{'")
}

func TestSomeFilesAreNotRead(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{
		"worker/a.go":              "// Code generated by sqlc. DO NOT EDIT.\n\npackage worker\n\nvar a int\n",
		"worker/testdata/a.go":     "package broken\n\nvar a int\n",
		"worker/.hidden/a.go":      "package broken\n",
		"worker/_old/a.go":         "package broken\n",
		"bench/go.mod":             "module bench\n",
		"bench/deep/a.go":          "package broken\n",
		"worker/migrations/01.sql": "-- TODO\n",
	})
}

func TestPackageDirectoriesAreListed(t *testing.T) {
	t.Parallel()
	m, err := tidy.Load(files{"a.go": head, "cli/a.go": head, "cli/b.go": head, "docs/a_test.go": head}.fs())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Dirs(), []string{".", "cli"}; !slices.Equal(got, want) {
		t.Errorf("directories %q, want %q", got, want)
	}
}

// wantBody checks worker/a.go, whose text begins on line 4, for problems that
// are given without the file's name.
func wantBody(t *testing.T, body string, want ...string) {
	t.Helper()
	for i := range want {
		want[i] = "worker/a.go" + want[i]
	}
	wantProblems(t, files{"worker/a.go": head + body}, want...)
}

func wantProblems(t *testing.T, source files, want ...string) {
	t.Helper()
	if got := check(t, source); !slices.Equal(got, want) {
		t.Errorf("problems\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func check(t *testing.T, source files) []string {
	t.Helper()
	m, err := tidy.Load(source.fs())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range m.Check() {
		got = append(got, p.String())
	}
	return got
}

func (s files) fs() fs.FS {
	tree := fstest.MapFS{}
	for name, source := range s {
		tree[path.Clean(name)] = &fstest.MapFile{Data: []byte(source)}
	}
	return tree
}
