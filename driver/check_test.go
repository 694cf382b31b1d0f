package driver_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/driver"
)

// Each byte, at the start of a name and behind it, is let through or refused as the documents say.
func TestNamesHaveTheCharactersThatTheyMay(t *testing.T) {
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for what, c := range map[string]struct {
		others string
		check  func(name string) error
	}{
		"queue": {"_-.", driver.CheckQueue},
		"kind": {`_-.:/\`, func(name string) error {
			return driver.Envelope{ID: "i", Kind: name, Queue: "q"}.Check(driver.MaxBody)
		}},
		"id": {`_-.:/\@+=#`, func(name string) error {
			return driver.Envelope{ID: name, Kind: "k", Queue: "q"}.Check(driver.MaxBody)
		}},
	} {
		for b := range 256 {
			char := string([]byte{byte(b)})
			first, behind := strings.Contains(alnum, char), strings.Contains(alnum+c.others, char)
			if err := c.check(char + "a"); (err == nil) != first || err != nil && !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("%s %q: %v", what, char+"a", err)
			}
			if err := c.check("a" + char); (err == nil) != behind || err != nil && !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("%s %q: %v", what, "a"+char, err)
			}
		}
	}
}
