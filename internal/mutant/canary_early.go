//go:build posthorn_mutant && canary_early

package mutant

// planted is the fault of this build.
const planted = "canary_early"
