// Package samples has mails for the demo and for tests: ordinary ones, odd
// ones and hostile ones. The file names say what each is about. Those that
// name the host lists.example reach the demo's list provider.
package samples

import (
	"embed"
	"io/fs"
)

//go:embed *.eml
var files embed.FS

// FS returns the mails as *.eml files. It cannot be written to.
func FS() fs.FS { return files }
