// Package sweeptest holds the test that cuts a SQLite store off at each of its system
// calls: the N-th write or sync kills the process, or fails, for N = 1, 2, 3 … until a run
// is clean. It has no code of its own: the test binary is what is cut off, under strace.
package sweeptest
