package monitor_test

import (
	"testing"

	"github.com/posthorn/posthorn/monitor"
)

// What is read of the shared document is written so that it is read the same again; what is
// not of this version is refused, and not written over.
func FuzzADocumentIsReadAsItWasWritten(f *testing.F) {
	for _, s := range []string{"", "{}", `{"version":1}`, `{"version":99}`, `{"version":1,"tracks":null}`, "[]", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := monitor.Decode(body)
		if err != nil {
			return
		}
		_ = s.Conditions()
		once, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := monitor.Decode(once)
		if err != nil {
			t.Fatalf("%q: %v", once, err)
		}
		twice, err := again.Encode()
		if err != nil || string(twice) != string(once) {
			t.Fatalf("%q is written %q, then %q, %v", body, once, twice, err)
		}
	})
}
