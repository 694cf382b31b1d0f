//go:build posthorn_mutant && retry_in_two

package mutant

// planted is the fault of this build.
const planted = "retry_in_two"
