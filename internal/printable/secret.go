package printable

import "regexp"

// SecretWords are parts of the names that passwords, tokens and keys go by, as a regular
// expression that minds the case.
const SecretWords = `passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key` //nolint:gosec // names only

// secretField fits the names of fields and headers that hold secrets.
var secretField = regexp.MustCompile(`(?i)` + SecretWords +
	`|^(?:proxy-)?authorization$|^(?:set-)?cookie$|credential|private[_-]?key`)

// NamesSecret reports whether a field or a header of this name is taken to hold a secret.
func NamesSecret(name string) bool { return secretField.MatchString(name) }
