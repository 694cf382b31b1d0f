//go:build linux || darwin

package testserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// template returns a fresh data directory, to be copied. The first process that
// needs it makes it; others wait for that, and all later ones find it.
func template(p product, progs programs, who *account) (string, error) {
	cache, err := templates()
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	defer lock.Close()
	if err := lockFile(lock, 0); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	name, err := templateName(p, progs)
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := makeTemplate(p, progs, who, dir); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	return dir, nil
}

// templates is the directory of the templates.
func templates() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil { // a user without a home
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("posthorn-%d", os.Getuid()))
	}
	dir = filepath.Join(dir, "posthorn-testserver")
	return dir, os.MkdirAll(dir, 0o700)
}

// templateName changes with the program and with how it is called.
func templateName(p product, progs programs) (string, error) {
	info, err := os.Stat(progs.server)
	if err != nil {
		return "", err
	}
	how := fmt.Sprint(progs, info.Size(), info.ModTime().UnixNano(), p.install(""), p.extra)
	sum := sha256.Sum256([]byte(how))
	return fmt.Sprintf("%s-%x", p.thing, sum[:6]), nil
}

// makeTemplate runs the product's installer.
func makeTemplate(p product, progs programs, who *account, dir string) (err error) {
	scratch, err := makePlace(who, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.leave()) }()
	data := filepath.Join(scratch.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := who.own(data); err != nil {
		return err
	}
	cmd := who.command(progs.installer, p.install(data)...)
	cmd.Dir = data
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", progs.installer, err, strings.TrimSpace(string(said)))
	}
	if err := os.MkdirAll(filepath.Join(data, p.extra), 0o700); err != nil {
		return err
	}
	return keepTemplate(data, dir)
}

// keepTemplate puts the data in its place in one step, when it is on disk.
func keepTemplate(data, dir string) error {
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := copyTree(data, unfinished, nil); err != nil {
		return err
	}
	syscall.Sync()
	return os.Rename(unfinished, dir)
}
