//go:build posthorn_mutant && rescue_blind

package mutant

// planted is the fault of this build.
const planted = "rescue_blind"
