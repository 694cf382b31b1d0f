package tidy

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// logKeys are all the keys of log lines, so that a query finds every line about a thing.
// A key has one meaning everywhere.
func logKeys() []string {
	return []string{
		// What the line is about.
		"worker", "program", "place", "pid", "queue", "queues", "message_id", "kind", "trace_id",
		"condition", "subject", "operation", "target", "action", "transport", "file", "process", "group", "channel", "event",
		// What happened to a message.
		"attempt", "class", "fault", "reason", "retry_in", "delay", "stuck", "concurrency", "in_flight",
		"released", "suspected", "buried", "messages", "count",
		// What happened to a process.
		"code", "signal", "out_of_memory", "max_rss", "limit", "wait", "after", "replacements", "period",
		// Why, and what to do about it.
		"error", "cause", "found", "finding", "level", "try",
	}
}

// checkLogs holds log lines to constant messages and to the keys of the list.
func checkLogs(f *file, add report) {
	if f.test || strings.HasPrefix(f.dir, "examples/") {
		return
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			checkLogCall(n, add)
		case *ast.CompositeLit:
			if isArgs(n.Type) {
				checkKeys(n.Elts, add)
			}
		}
		return true
	})
}

// checkLogCall looks at a call of a logger's method, and at what is appended to args.
func checkLogCall(call *ast.CallExpr, add report) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	switch {
	case isArgsAppend(call):
		checkKeys(call.Args[1:], add)
	case !ok || !isLogger(sel.X) || call.Ellipsis.IsValid() && len(call.Args) < 2:
	case sel.Sel.Name == "With":
		checkKeys(call.Args, add)
	case slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, sel.Sel.Name):
		if !isConstant(call.Args[0]) {
			add(call.Pos(), "a log line has a constant message; what differs is the value of a key")
		}
		checkKeys(call.Args[1:], add)
	}
}

// isLogger tells a logger by its name: log, Log, logger(), Logger(ctx) and the like.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return isLoggerName(x.Name)
	case *ast.SelectorExpr:
		return isLoggerName(x.Sel.Name)
	case *ast.CallExpr:
		return isLogger(x.Fun)
	}
	return false
}

func isLoggerName(name string) bool {
	return slices.Contains([]string{"log", "logger"}, strings.ToLower(name))
}

// isArgs reports whether a type is []any, which is what keys and values are kept in.
func isArgs(typ ast.Expr) bool {
	list, ok := typ.(*ast.ArrayType)
	if !ok || list.Len != nil {
		return false
	}
	name, ok := list.Elt.(*ast.Ident)
	return ok && name.Name == "any"
}

// isArgsAppend reports whether keys and values are appended to others: append(args, …) or
// append(named(d), …).
func isArgsAppend(call *ast.CallExpr) bool {
	name, ok := call.Fun.(*ast.Ident)
	if !ok || name.Name != "append" || len(call.Args) < 3 {
		return false
	}
	_, first := literal(call.Args[1])
	_, second := literal(call.Args[2])
	return first && !second
}

// isConstant reports whether a message is written out, or has a name.
func isConstant(x ast.Expr) bool {
	_, written := literal(x)
	_, named := x.(*ast.Ident)
	return written || named
}

// checkKeys looks at keys and their values, which take turns. What does not begin with a
// key that is written out is none.
func checkKeys(args []ast.Expr, add report) {
	for i := 0; i < len(args)-1; i += 2 {
		key, ok := literal(args[i])
		if !ok {
			return
		}
		if !isWord(key) {
			return // arguments of something else: of a statement, say
		}
		if !slices.Contains(logKeys(), key) {
			add(args[i].Pos(), "log key %q is not in the list of internal/tidy/logs.go", key)
		}
	}
}

func isWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// literal is the text of a string that is written out.
func literal(x ast.Expr) (string, bool) {
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}
