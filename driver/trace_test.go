package driver_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/driver"
)

func TestATraceIsNamedByAValidTraceparentOnly(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	none := strings.Repeat("0", 32)
	for in, want := range map[string]struct {
		id      string
		sampled bool
	}{
		"00-" + trace + "-" + span + "-01":                          {trace, true},
		"00-" + trace + "-" + span + "-00":                          {trace, false},
		"00-" + trace + "-" + span + "-03":                          {trace, true},
		"cc-" + trace + "-" + span + "-01-more":                     {trace, true}, // of a later version
		"cc-" + trace + "-" + span + "-01.more":                     {},
		"00-" + trace + "-" + span + "-01-more":                     {},
		"ff-" + trace + "-" + span + "-01":                          {},
		"00-" + none + "-" + span + "-01":                           {},
		"00-" + trace + "-" + none[:16] + "-01":                     {},
		"00-" + strings.ToUpper(trace) + "-" + span + "-01":         {},
		"00-" + trace + "-" + span + "-0\x1b":                       {},
		"00_" + trace + "-" + span + "-01":                          {},
		"":                                                          {},
		"00-\x1b]0;" + strings.Repeat("x", 28) + "-" + span + "-01": {},
		"00-" + trace + "-" + span:                                  {},
		"00-" + trace[:31] + "\n-" + span + "-01":                   {},
	} {
		e := driver.Envelope{Header: map[string]string{driver.HeaderTraceparent: in}}
		if id, sampled := e.TraceID(); id != want.id || sampled != want.sampled {
			t.Errorf("TraceID of %q = %q, %v, want %q, %v", in, id, sampled, want.id, want.sampled)
		}
	}
	if id, _ := (driver.Envelope{}).TraceID(); id != "" {
		t.Errorf("without a header the trace is %q", id)
	}
}
