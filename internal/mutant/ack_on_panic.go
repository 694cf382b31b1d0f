//go:build posthorn_mutant && ack_on_panic

package mutant

// planted is the fault of this build.
const planted = "ack_on_panic"
