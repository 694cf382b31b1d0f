//go:build posthorn_mutant && ack_first

package mutant

// planted is the fault of this build.
const planted = "ack_first"
