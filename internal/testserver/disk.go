//go:build linux || darwin

package testserver

import (
	"fmt"
	"os"
	"path/filepath"
)

// SmallDisk makes a directory that the server may write to, on a file system
// of its own that is soon full. It ends with the server. Only the superuser of
// some systems may make one: an error says that there is none.
func (s *Server) SmallDisk(bytes int) (dir string, err error) {
	dir = s.place.disk()
	if err = os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make small disk: %w", err)
	}
	if err = mount(dir, bytes); err != nil {
		return "", fmt.Errorf("make small disk: %w", err)
	}
	if err = s.account.own(dir); err != nil {
		return "", fmt.Errorf("make small disk: %w", err)
	}
	return dir, nil
}

// disk is where a small disk of a place is, if it has one.
func (p *place) disk() string { return filepath.Join(p.dir, "disk") }

// remove removes a place with all that is in it.
func (p *place) remove() error {
	unmount(p.disk())
	return os.RemoveAll(p.dir)
}
