package open_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// Any text is an address or an error, and no error shows what stands where a password does.
func FuzzAnAddressThatIsRefusedKeepsItsPassword(f *testing.F) {
	for _, s := range [][2]string{
		{"postgres://u:", "@127.0.0.1:5432/d"}, {"mysql://u:", "@h:3306/d?prefix=x_"}, {"postgresql://u:", "@h/d?schema=é"},
		{"postgres://u:", "@h:99999/d?sslmode=maybe"}, {"mysql://u:", "@h,h:1/a/b"}, {"postgres://u:", "@h/d?listen=x&x=%zz"},
		{"mariadb://u:", "@[::1]:1/d?tls=skip-verify"}, {"sqlite:", "?synchronous=off"}, {"oracle://u:", "@h"}, {"", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if !strings.Contains(before, "://") || !strings.HasPrefix(after, "@") {
			_ = open.CheckStore(before + after)
			return
		}
		for _, form := range []string{"", "S3CRT", "%", "%00", "\x00", " ", "%zz"} {
			dsn := before + "C4N4RY" + form + after
			said := fmt.Sprintln(open.CheckStore(dsn), open.CheckTransport(dsn))
			said += fmt.Sprintln(open.Grants(dsn, store.RoleWorker, "worker"))
			if strings.Contains(said, "C4N4RY") {
				t.Fatalf("%q: %s", dsn, said)
			}
		}
	})
}
