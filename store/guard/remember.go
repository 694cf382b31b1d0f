package guard

import (
	"sync"
	"sync/atomic"
)

// Bounds of what is remembered: an application has some hundreds of statements;
// what builds its statements from values has no end.
const (
	maxRemembered = 1000
	maxText       = 4 << 10
)

// Remember makes a function of a statement's text that remembers its answers, since
// most statements are run again and again. The answer must depend on nothing else.
// What it returns may be called concurrently.
func Remember[T any](fn func(query string) T) func(query string) T {
	var (
		known sync.Map
		n     atomic.Int64
	)
	return func(query string) T {
		if v, ok := known.Load(query); ok {
			return v.(T)
		}
		v := fn(query)
		if len(query) > maxText {
			return v
		}
		if n.Add(1) > maxRemembered {
			known.Clear()
			n.Store(1)
		}
		known.Store(query, v)
		return v
	}
}
