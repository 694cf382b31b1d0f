// Package powertest holds the test that takes the power away from a store: its files lie
// on a file system in an image, of which a copy is made while all is under load. What a
// server finds on the copy is what a power cut would have left. It has no code of its own:
// the test binary is the load.
package powertest
