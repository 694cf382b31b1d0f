//go:build !posthorn_bench_unsafe_leases

package safety

// Leases says that claims are kept by leases, which workers renew, and which end with them.
const Leases = true
