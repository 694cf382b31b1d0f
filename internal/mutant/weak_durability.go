//go:build posthorn_mutant && weak_durability

package mutant

// planted is the fault of this build.
const planted = "weak_durability"
