//go:build !linux

package demo

import "syscall"

// dieWithParent is not to be had on this system.
func dieWithParent() *syscall.SysProcAttr { return nil }
