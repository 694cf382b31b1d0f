//go:build !posthorn_mutant

package supervisor

// The planted faults of package internal/mutant that are here, since this package
// imports nothing of the project; a normal build has none.
const (
	givesUp     = false
	backoffKept = false
)
