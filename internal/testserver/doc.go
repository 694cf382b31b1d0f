// Package testserver starts private PostgreSQL and MariaDB servers for tests,
// from the programs that are installed. Each has a data directory and a
// loopback port of its own, so that a test may stop, kill or freeze it. They
// end with their test, and on Linux with the test's process, however that dies.
//
// Servers refuse to run as root: then they run as the user that their package
// made, or as nobody. A fresh data directory is made once, kept in the user's
// cache directory (posthorn-testserver, which may be deleted at any time), and
// copied for each server.
package testserver
