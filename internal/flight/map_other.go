//go:build !unix

package flight

import (
	"errors"
	"os"
)

// mapFile is for systems without a shared mapping: there is no recorder.
func mapFile(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) error { return nil }
