package drivertest

import "sync"

// start runs fn beside the subtest; the caller calls wait.
func start(fn func()) (wait func()) {
	var running sync.WaitGroup
	running.Go(fn)
	return running.Wait
}
