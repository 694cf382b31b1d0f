//go:build posthorn_mutant && !gives_up && !backoff_kept

package supervisor

// The planted fault of this build is elsewhere (package internal/mutant).
const (
	givesUp     = false
	backoffKept = false
)
