package metrics

import (
	_ "embed"
	"slices"
)

//go:embed files/rules.yml
var rules []byte

//go:embed files/alertmanager.yml
var alertmanager []byte

// Rules are the rules for Prometheus, as a file of its own.
func Rules() []byte { return slices.Clone(rules) }

// Alertmanager is an example of a configuration for Alertmanager.
func Alertmanager() []byte { return slices.Clone(alertmanager) }
