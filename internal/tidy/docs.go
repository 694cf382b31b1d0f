package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// checkPackages looks at each package as a whole: it has a comment.
func (m *Module) checkPackages() []Problem {
	first, documented := map[string]*file{}, map[string]bool{}
	for _, f := range m.files {
		if f.test {
			continue
		}
		if first[f.dir] == nil {
			first[f.dir] = f
		}
		documented[f.dir] = documented[f.dir] || f.tree.Doc.Text() != ""
	}
	var problems []Problem
	for dir, f := range first {
		if !documented[dir] {
			problems = append(problems, m.problem(f, f.tree.Package, "package %s has no comment", f.tree.Name.Name))
		}
	}
	return problems
}

// checkDocs asks for a comment on each exported name and on each type. In a
// test only types are asked: a test's name says what it is for.
func checkDocs(f *file, add report) {
	for _, decl := range f.tree.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if !f.test && isExported(decl) && decl.Doc.Text() == "" {
				add(decl.Pos(), "exported function %s has no comment", decl.Name.Name)
			}
		case *ast.GenDecl:
			checkGroup(f, decl, add)
		}
	}
}

// isExported is false for a method of an unexported type.
func isExported(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return fn.Name.IsExported()
	}
	typ := fn.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.IsExported() && fn.Name.IsExported()
		default:
			return fn.Name.IsExported()
		}
	}
}

// checkGroup takes a comment on a group of values for all of them; each type
// needs its own.
func checkGroup(f *file, decl *ast.GenDecl, add report) {
	group := decl.Doc.Text() != ""
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			single := group && !decl.Lparen.IsValid()
			if !single && spec.Doc.Text() == "" && spec.Comment.Text() == "" {
				add(spec.Pos(), "type %s has no comment", spec.Name.Name)
			}
		case *ast.ValueSpec:
			if f.test || group || spec.Doc.Text() != "" || spec.Comment.Text() != "" {
				continue
			}
			reportExported(spec, add)
		}
	}
}

func reportExported(spec *ast.ValueSpec, add report) {
	for _, name := range spec.Names {
		if name.IsExported() {
			add(name.Pos(), "exported name %s has no comment", name.Name)
		}
	}
}

// checkNames refuses the words that say nothing, in the names of packages,
// files and types.
func checkNames(f *file, add report) {
	if word := emptyWord(words(f.tree.Name.Name)); word != "" {
		add(f.tree.Name.Pos(), "package name %s says nothing: avoid %s", f.tree.Name.Name, word)
	}
	base := strings.TrimSuffix(path.Base(f.path), ".go")
	if word := emptyWord(words(base)); word != "" {
		add(f.tree.Package, "file name %s says nothing: avoid %s", path.Base(f.path), word)
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			parts := words(spec.Name.Name)
			if word := emptyWord([]string{parts[0], parts[len(parts)-1]}); word != "" {
				add(spec.Pos(), "type name %s says nothing: avoid %s", spec.Name.Name, word)
			}
		}
		return true
	})
}

// emptyWord returns the first word that no name may have, or "".
func emptyWord(names []string) string {
	empty := []string{"task", "item", "manager", "helper", "util", "common", "base"}
	for _, name := range names {
		if slices.Contains(empty, strings.TrimSuffix(name, "s")) {
			return name
		}
		if strings.HasSuffix(strings.TrimSuffix(name, "s"), "util") { // testutil, ioutils
			return name
		}
	}
	return ""
}

// words splits a name at underscores and capitals and returns it in lower
// case: HTTPServer is http, server. There is always at least one.
func words(name string) []string {
	var out []string
	runes, start := []rune(name), 0
	for i := 1; i < len(runes); i++ {
		up := unicode.IsUpper(runes[i])
		afterLower := up && !unicode.IsUpper(runes[i-1])
		beforeLower := up && i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if afterLower || beforeLower || runes[i] == '_' {
			out, start = append(out, string(runes[start:i])), i
		}
	}
	out = append(out, string(runes[start:]))
	for i, word := range out {
		out[i] = strings.ToLower(strings.Trim(word, "_"))
	}
	return out
}

// unfinished finds the marks of work that was put off.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

// checkMarks finds comments that put work off.
func checkMarks(f *file, add report) {
	for _, group := range f.tree.Comments {
		for _, comment := range group.List {
			if at := unfinished.FindStringIndex(comment.Text); at != nil {
				add(comment.Pos()+token.Pos(at[0]), "comment puts work off: %s", comment.Text[at[0]:at[1]])
			}
		}
	}
}
