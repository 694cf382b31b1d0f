package runs

import "runtime/debug"

// CommitOf is what is known of a build.
func CommitOf(info *debug.BuildInfo) string { return commitOf(info) }
