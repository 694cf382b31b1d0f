//go:build posthorn_mutant && operation_unfenced

package mutant

// planted is the fault of this build.
const planted = "operation_unfenced"
