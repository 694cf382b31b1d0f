package faulttest_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// long takes the full numbers of faults instead of those that a test run of
// every day has time for.
var long = flag.Bool("long", false, "inject the full number of faults")

// atOnce is how many tests run at a time: they wait more than they work.
const atOnce = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// times is the number of faults to inject.
func times(short, full int) int {
	if *long {
		return full
	}
	return short
}
