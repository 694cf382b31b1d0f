//go:build mended

package main

// What the morning runs.
const (
	mended  = true
	version = "1.1"
)
