//go:build !mended

package main

// What the night ran.
const (
	mended  = false
	version = "1.0"
)
