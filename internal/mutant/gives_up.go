//go:build posthorn_mutant && gives_up

package mutant

// planted is the fault of this build.
const planted = "gives_up"
