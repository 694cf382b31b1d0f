// Package crashtest holds the tests that kill worker processes. It has no code
// of its own: the test binary is the worker that dies.
package crashtest
