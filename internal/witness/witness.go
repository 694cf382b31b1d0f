// Package witness judges what a test run has shown (package tap): it looks for the secret
// of the tests, and for characters that a terminal obeys. `make canaries` runs it.
package witness

import "github.com/posthorn/posthorn/internal/tap"

// Secret stands in bodies, headers, passwords and tokens of tests.
const Secret = tap.Secret

// Hidden is a field of a message that holds the secret, whatever it is set to.
type Hidden struct{}

// MarshalText gives the secret.
func (Hidden) MarshalText() ([]byte, error) { return []byte(Secret), nil }

// UnmarshalText takes anything.
func (*Hidden) UnmarshalText([]byte) error { return nil }
