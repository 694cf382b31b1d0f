// Package doctest runs what the documents show: every line of a shell block,
// and every program. It has no code of its own outside tests.
package doctest
