//go:build posthorn_mutant_no_poll

package mutant

// planted is the fault of this build.
const planted = "no_poll"
