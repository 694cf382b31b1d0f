//go:build !posthorn_mutant

package mutant

// planted is the fault of this build: none.
const planted = ""
