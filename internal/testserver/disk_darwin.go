package testserver

import "errors"

// mount cannot make a file system here.
func mount(string, int) error { return errors.ErrUnsupported }

func unmount(string) {}
