package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"unicode/utf8"
)

// The bounds.
const (
	maxFileLines  = 400
	maxTestLines  = 600
	maxFuncLines  = 70
	usualLines    = 30 // nine of ten functions keep to it
	maxParams     = 4
	maxNesting    = 3
	maxLineLength = 120
)

// checkLines looks at the text: its length, its width and its format.
func checkLines(pos *token.File, f *file, add report) {
	limit := maxFileLines
	if f.test {
		limit = maxTestLines
	}
	lines := f.lines()
	if len(lines) > limit {
		add(pos.LineStart(limit+1), "file has %d lines, more than %d", len(lines), limit)
	}
	for i, line := range lines {
		if bytes.HasPrefix(line, []byte("//go:build ")) { // it cannot be broken
			continue
		}
		if n := utf8.RuneCount(line); n > maxLineLength {
			add(pos.LineStart(i+1), "line has %d columns, more than %d", n, maxLineLength)
		}
	}
	if formatted, err := format.Source(f.src); err == nil && !bytes.Equal(formatted, f.src) {
		add(pos.LineStart(firstDifference(formatted, f.src)), "file is not formatted: run make fmt")
	}
}

// firstDifference is the number of the first line of b that a has otherwise.
func firstDifference(a, b []byte) int {
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	return min(bytes.Count(b[:same], []byte("\n")), bytes.Count(b, []byte("\n"))-1) + 1
}

// checkFuncSizes finds the functions that are too long.
func checkFuncSizes(fset *token.FileSet, f *file, add report) {
	for _, fn := range f.funcs() {
		if n := linesOf(fset, fn); n > maxFuncLines {
			add(fn.Pos(), "function %s has %d lines, more than %d", fn.Name.Name, n, maxFuncLines)
		}
	}
}

// checkLongFuncs holds the share of the longer functions, in the whole module
// and in what is not a test: short tests are no licence for long code.
func (m *Module) checkLongFuncs() []Problem {
	var code, all tally
	for _, f := range m.files {
		for _, fn := range f.funcs() {
			n, at := linesOf(m.fset, fn), m.problem(f, fn.Pos(), "")
			all.count(n, at)
			if !f.test {
				code.count(n, at)
			}
		}
	}
	return append(code.problems("functions outside tests"), all.problems("functions")...)
}

// A tally counts functions and keeps the longest one.
type tally struct {
	total, long, most int
	longest           Problem
}

func (t *tally) count(lines int, at Problem) {
	t.total++
	if lines > usualLines {
		t.long++
	}
	if lines > t.most {
		t.most, t.longest = lines, at
	}
}

func (t *tally) problems(what string) []Problem {
	if t.long*10 <= t.total {
		return nil
	}
	p := t.longest
	p.Text = fmt.Sprintf("%d of %d %s are longer than %d lines, more than one in ten; this is the longest",
		t.long, t.total, what, usualLines)
	return []Problem{p}
}

// funcs are the functions and methods that the file declares.
func (f *file) funcs() []*ast.FuncDecl {
	var fns []*ast.FuncDecl
	for _, decl := range f.tree.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			fns = append(fns, fn)
		}
	}
	return fns
}

// linesOf counts from func to the closing brace; the comment is free.
func linesOf(fset *token.FileSet, fn *ast.FuncDecl) int {
	return fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
}

// checkParams counts the parameters of every signature, a context included. The
// signature of a function literal is not its author's choice: it is of the type
// that somebody asks for, and counted there.
func checkParams(f *file, add report) {
	literals := map[*ast.FuncType]bool{}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			literals[n.Type] = true
		case *ast.FuncType:
			if count := n.Params.NumFields(); count > maxParams && !literals[n] {
				add(n.Params.Pos(), "signature has %d parameters, more than %d", count, maxParams)
			}
		}
		return true
	})
}

// checkNesting measures how deep the code of each function goes.
func checkNesting(f *file, add report) {
	for _, fn := range f.funcs() {
		if fn.Body != nil {
			ast.Walk(nest{add: add}, fn.Body)
		}
	}
}

// A nest knows how deep the node at hand lies. Each if, loop, switch, select
// and function literal is a level; else and case clauses are on the level of
// what they belong to.
type nest struct {
	depth int
	add   report
}

// Visit goes one level down where the code does.
func (v nest) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.IfStmt:
		v.visitIf(n, v.deeper(n))
		return nil
	case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.FuncLit:
		return v.deeper(n)
	}
	return v
}

func (v nest) visitIf(n *ast.IfStmt, inside nest) {
	if n.Init != nil {
		ast.Walk(v, n.Init)
	}
	ast.Walk(v, n.Cond)
	ast.Walk(inside, n.Body)
	switch other := n.Else.(type) {
	case *ast.IfStmt:
		v.visitIf(other, inside)
	case *ast.BlockStmt:
		ast.Walk(inside, other)
	}
}

func (v nest) deeper(n ast.Node) nest {
	v.depth++
	if v.depth == maxNesting+1 {
		v.add(n.Pos(), "code is nested more than %d levels deep", maxNesting)
	}
	return v
}
