// Package testserver starts private PostgreSQL and MariaDB servers, for tests and
// for posthorn torture, from the programs that are installed. Each has a data
// directory and a loopback port of its own, so that it may be stopped, killed or
// frozen. Servers end with their test, and on Linux with the process that started
// them, however that dies.
//
// Servers refuse to run as root: then they run as the user that their package
// made, or as nobody. A fresh data directory is made once, kept in the user's
// cache directory (posthorn-testserver, which may be deleted at any time), and
// copied for each server.
package testserver
