// Package schema checks the manifests that Posthorn generates against the types
// of Kubernetes' own API. It is a module of its own, so that those stay out of the
// project's go.mod.
package schema
