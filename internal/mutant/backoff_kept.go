//go:build posthorn_mutant && backoff_kept

package mutant

// planted is the fault of this build.
const planted = "backoff_kept"
