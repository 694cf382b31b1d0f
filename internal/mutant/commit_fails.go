//go:build posthorn_mutant && commit_fails

package mutant

// planted is the fault of this build.
const planted = "commit_fails"
