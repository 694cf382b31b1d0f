//go:build posthorn_mutant && innocents_charged

package mutant

// planted is the fault of this build.
const planted = "innocents_charged"
