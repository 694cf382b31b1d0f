//go:build posthorn_mutant && released_twice

package mutant

// planted is the fault of this build.
const planted = "released_twice"
