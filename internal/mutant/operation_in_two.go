//go:build posthorn_mutant && operation_in_two

package mutant

// planted is the fault of this build.
const planted = "operation_in_two"
