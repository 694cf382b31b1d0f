//go:build !posthorn_bench_unsafe_fencing

package safety

// Fencing says that a settlement holds only for the claim whose token it names.
const Fencing = true
