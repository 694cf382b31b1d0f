// Package fleettest holds the tests that run a whole fleet, by the real supervisor and
// the real commands, against what it has to live with: messages that kill their process
// among thousands that do not, and a long time of kills and cuts that no hand mends.
package fleettest
