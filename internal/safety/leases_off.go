//go:build posthorn_bench_unsafe_leases

package safety

// Leases is off in this build, which is for the benchmark alone.
const Leases = false
