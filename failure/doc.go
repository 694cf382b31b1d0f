// Package failure is the workbench of messages that are not done: why they are not,
// and what can be done about those that are dead.
package failure
