// Package tidy holds the module to its conventions.
//
// It reads every Go file of the module, without building any, and names each
// place that breaks a rule: an import that climbs a floor, a bound of size, a
// missing comment, a forbidden name, state or a goroutine where none may be.
// Its own test runs it over the whole module. A rule that nothing holds is
// gone in a month.
package tidy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// modulePath is what the import path of each package of the module begins with.
const modulePath = "github.com/posthorn/posthorn"

// A Problem is one place that breaks a rule.
type Problem struct {
	File string // its path from the root of the module, with slashes
	Line int
	Text string
}

// String gives the problem as compilers do: file:line: text.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// A Module is the parsed source of one module. Generated files, testdata,
// hidden directories and modules inside it are left out.
type Module struct {
	fset   *token.FileSet
	files  []*file
	broken []Problem // what does not parse
}

// A file is one parsed Go file.
type file struct {
	path string // from the root of the module
	dir  string // "." for the root
	test bool
	src  []byte
	tree *ast.File
}

// A report collects a problem of the file at hand.
type report func(at token.Pos, format string, args ...any)

// Load reads the module whose root is fsys. A file that does not parse is a
// problem of Check; the error is that of reading.
func Load(fsys fs.FS) (*Module, error) {
	m := &Module{fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipDir(fsys, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		m.add(name, src)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load module: %w", err)
	}
	return m, nil
}

// skipDir returns fs.SkipDir for a directory that the go command would not
// take for a part of the module.
func skipDir(fsys fs.FS, name string) error {
	if name == "." {
		return nil
	}
	if last := path.Base(name); last == "testdata" || last == "vendor" || last[0] == '.' || last[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// add parses one file.
func (m *Module) add(name string, src []byte) {
	tree, err := parser.ParseFile(m.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		m.broken = append(m.broken, syntaxProblem(name, err))
		return
	}
	if ast.IsGenerated(tree) {
		return
	}
	m.files = append(m.files, &file{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), src: src, tree: tree,
	})
}

func syntaxProblem(name string, err error) Problem {
	p := Problem{File: name, Line: 1, Text: err.Error()}
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		p.Line, p.Text = list[0].Pos.Line, list[0].Msg
	}
	return p
}

// Dirs lists the directories that hold a package, in order; "." is the root. A
// directory with nothing but tests is not one.
func (m *Module) Dirs() []string {
	var dirs []string
	for _, f := range m.files {
		if !f.test {
			dirs = append(dirs, f.dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Check returns every problem, ordered by file and line.
func (m *Module) Check() []Problem {
	problems := slices.Clone(m.broken)
	for _, f := range m.files {
		add := func(at token.Pos, format string, args ...any) {
			problems = append(problems, m.problem(f, at, format, args...))
		}
		for _, rule := range fileRules() {
			rule(f, add)
		}
		checkLines(m.fset.File(f.tree.FileStart), f, add)
		checkFuncSizes(m.fset, f, add)
	}
	problems = append(problems, m.checkPackages()...)
	problems = append(problems, m.checkLongFuncs()...)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return problems
}

// fileRules are the rules that look at one file's tree.
func fileRules() []func(*file, report) {
	return []func(*file, report){
		checkFloor, checkParams, checkNesting, checkDocs, checkNames, checkMarks, checkGlobals, checkCalls, checkLogs,
	}
}

func (m *Module) problem(f *file, at token.Pos, format string, args ...any) Problem {
	return Problem{File: f.path, Line: m.fset.Position(at).Line, Text: fmt.Sprintf(format, args...)}
}

// lines splits the source; the last line end begins no further line.
func (f *file) lines() [][]byte {
	return bytes.Split(bytes.TrimSuffix(f.src, []byte("\n")), []byte("\n"))
}

// importName is the name under which the file imports a package of the
// standard library, or "" if it does not.
func (f *file) importName(pkg string) string {
	for _, spec := range f.tree.Imports {
		if importPath(spec) != pkg {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

func importPath(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, "`\"") }
