//go:build posthorn_mutant && dirty_kept

package mutant

// planted is the fault of this build.
const planted = "dirty_kept"
