// Package soaktest holds the test that a fleet under the supervisor stays at its size
// for a long time while its processes are killed and its connections are cut, and that
// nothing is lost, doubled, left behind or grown in the end. No hand helps it.
package soaktest
