//go:build posthorn_mutant && gives_up

package supervisor

// A planted fault (package internal/mutant).
const (
	givesUp     = true
	backoffKept = false
)
