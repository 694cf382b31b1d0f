//go:build !posthorn_failpoints

package failpoint

// On says that this build can die at a point.
const On = false

// Pass is a moment.
func Pass(Point) {}
