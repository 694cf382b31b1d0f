//go:build posthorn_bench_unsafe_guard

package safety

// Guard is off in this build, which is for the benchmark alone.
const Guard = false
