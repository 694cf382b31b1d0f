//go:build linux

package powertest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// imageSize is that of a disk; what nobody writes takes no room.
const imageSize = 768 << 20

// A disk is a file system in an image.
type disk struct {
	image, dir string
	device     string // /dev/loopN, while it is mounted
}

// makeDisk makes an empty one. The error of one that cannot be mounted is errMount.
func makeDisk(parent, name string) (d *disk, err error) {
	d = &disk{image: filepath.Join(parent, name+".img"), dir: filepath.Join(parent, name)}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(imageSize), f.Close()); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, fmt.Errorf("%w: %w", errMount, err)
	}
	return d, d.mount()
}

// errMount: file systems cannot be made or mounted here.
var errMount = errors.New("cannot mount")

// mount mounts the image. The file system writes by itself every 30 s: the longer, the
// more is lost of what was not synced.
func (d *disk) mount() error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	if err := command("mount", "-o", "loop,commit=30", "-t", "ext4", d.image, d.dir); err != nil {
		return fmt.Errorf("%w: %w", errMount, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if device, rest, _ := strings.Cut(line, " "); strings.HasPrefix(rest, d.dir+" ") {
			d.device = device
		}
	}
	return nil
}

func (d *disk) unmount() error {
	if d.device == "" {
		return nil
	}
	d.device = ""
	return command("umount", "-l", d.dir)
}

// writes is how often the disk was written to.
func (d *disk) writes() (string, error) {
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.device), "stat"))
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 6 {
		return fields[4] + " " + fields[6], nil // requests and sectors
	}
	return "", err
}

// cut copies the image as it is at one moment, and mounts the copy. Whoever writes has
// been stopped; the file system itself may still write, and then the copy is made again.
func (d *disk) cut(name string) (*disk, error) {
	c := &disk{image: filepath.Join(filepath.Dir(d.image), name+".img"), dir: filepath.Join(filepath.Dir(d.dir), name)}
	for range 20 {
		before, err := d.writes()
		if err != nil {
			return nil, err
		}
		if err := command("cp", "--sparse=always", d.image, c.image); err != nil {
			return nil, err
		}
		if after, err := d.writes(); err != nil || after == before {
			return c, errors.Join(err, c.mount())
		}
	}
	return nil, errors.New("the disk is written to although nobody runs")
}

// remove ends a disk.
func (d *disk) remove(t *testing.T) {
	if err := errors.Join(d.unmount(), os.Remove(d.image)); err != nil {
		t.Error(err)
	}
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
