//go:build !linux

package worker

import "runtime/metrics"

// ResidentMemory approximates the resident set size of this process in bytes:
// the memory that the Go runtime has mapped, less what it has given back.
func ResidentMemory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
