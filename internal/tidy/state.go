package tidy

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkGlobals refuses init functions everywhere, and outside tests variables
// of a package that something could change.
func checkGlobals(f *file, add report) {
	for _, fn := range f.funcs() {
		if fn.Recv == nil && fn.Name.Name == "init" {
			add(fn.Pos(), "init runs unasked: let main or a constructor call it")
		}
	}
	if f.test {
		return
	}
	for _, decl := range f.tree.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			checkVar(f, group, spec.(*ast.ValueSpec), add)
		}
	}
}

func checkVar(f *file, group *ast.GenDecl, spec *ast.ValueSpec, add report) {
	if embeds(group.Doc) || embeds(spec.Doc) {
		return
	}
	for i, name := range spec.Names {
		if name.Name == "_" { // an assertion for the compiler
			continue
		}
		if len(spec.Values) != len(spec.Names) || !f.isSettled(spec.Values[i]) {
			add(name.Pos(), "variable %s belongs to the whole package: make it a constant, a function or a field", name.Name)
		}
	}
}

// embeds reports whether a comment tells the compiler to fill the variable.
func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// isSettled reports whether a value is one that nobody changes: a sentinel
// error, another package's sentinel, or a compiled expression.
func (f *file) isSettled(value ast.Expr) bool {
	switch value := value.(type) {
	case *ast.SelectorExpr:
		return strings.HasPrefix(value.Sel.Name, "Err")
	case *ast.CallExpr:
		return f.isName(value.Fun, "errors", "New") || f.isName(value.Fun, "fmt", "Errorf") ||
			f.isName(value.Fun, "regexp", "MustCompile")
	}
	return false
}

// checkCalls refuses sleeping, and goroutines that nothing waits for.
func checkCalls(f *file, add report) {
	if f.test {
		return
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if f.isName(n, "time", "Sleep") {
				add(n.Pos(), "time.Sleep cannot be interrupted: wait for a timer or the context")
			}
		case *ast.GoStmt:
			add(n.Pos(), "go statement starts what nothing waits for: use sync.WaitGroup.Go")
		}
		return true
	})
}

// isName reports whether an expression is a name of a standard package.
func (f *file) isName(expr ast.Expr, pkg, name string) bool {
	sel, ok := expr.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == f.importName(pkg)
}
