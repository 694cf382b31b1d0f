//go:build !linux && !darwin

package torture

import "fmt"

// launch starts no private server here.
func launch(string) (server, error) {
	return nil, fmt.Errorf("%w: this system has none that can be harmed", ErrNoServer)
}
