//go:build posthorn_mutant && rest_ignored

package mutant

// planted is the fault of this build.
const planted = "rest_ignored"
