package testserver

import "context"

// A Test is what the package needs of a testing.TB, so that a program that
// launches servers does not carry package testing.
type Test interface {
	Helper()
	Context() context.Context
	Failed() bool
	Log(args ...any)
	Logf(format string, args ...any)
	Skip(args ...any)
	Error(args ...any)
	Fatal(args ...any)
	Cleanup(fn func())
}
