//go:build posthorn_mutant && no_poll

package mutant

// planted is the fault of this build.
const planted = "no_poll"
