//go:build posthorn_mutant && backoff_kept

package supervisor

// A planted fault (package internal/mutant).
const (
	givesUp     = false
	backoffKept = true
)
