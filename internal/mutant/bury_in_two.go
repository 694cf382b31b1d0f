//go:build posthorn_mutant && bury_in_two

package mutant

// planted is the fault of this build.
const planted = "bury_in_two"
