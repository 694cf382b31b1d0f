//go:build posthorn_bench_unsafe_fencing

package safety

// Fencing is off in this build, which is for the benchmark alone.
const Fencing = false
