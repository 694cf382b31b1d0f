package supervisor_test

import (
	"maps"
	"strings"
	"testing"
	"unicode"

	"github.com/posthorn/posthorn/supervisor"
)

func TestNoticesAreReadStrictly(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"READY=1":                       {"READY": "1"},
		"READY=1\nSTATUS=a=b c\n":       {"READY": "1", "STATUS": "a=b c"},
		"X_POSTHORN_WORKER=w-1\nEMPTY=": {"X_POSTHORN_WORKER": "w-1", "EMPTY": ""},
		"":                              nil,
		"READY":                         nil,
		"=1":                            nil,
		"ready=1":                       nil,
		"READY=1\n\nSTATUS=x":           nil,
		"READY=1\nSTATUS=\x1b[2J":       nil,
		"READY=1\nSTATUS=\xff":          nil,
		"READY=1\nSTATUS=" + strings.Repeat("x", 1025): nil,
		strings.Repeat("A", 65) + "=1":                 nil,
		strings.Repeat("A=1\n", 33):                    nil,
		"STATUS=" + strings.Repeat("x", 5000):          nil,
	} {
		got, err := supervisor.ParseNotice([]byte(in))
		if (err != nil) != (want == nil) || !maps.Equal(got, want) {
			t.Errorf("%.40q: %v, %v; want %v", in, got, err, want)
		}
	}
}

func FuzzNotice(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=x"))
	f.Add([]byte("A=\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fields, err := supervisor.ParseNotice(in)
		if err != nil && fields != nil || len(fields) > 32 {
			t.Fatalf("%d fields, %v", len(fields), err)
		}
		for key, value := range fields {
			if strings.ContainsFunc(key+value, unicode.IsControl) || len(value) > 1024 {
				t.Fatalf("%q = %q", key, value)
			}
		}
	})
}

func TestAProcessThatSendsRubbishIsReadOn(t *testing.T) {
	r := start(t, supervisor.Options{}, handshaking("p", "say:rubbish say:READY=1 wait"))
	r.awaitReady(1)
}

func TestWhoNotifiesNobodyIsNotToldOff(t *testing.T) {
	if err := supervisor.Notify("", "READY=1"); err != nil {
		t.Error(err)
	}
	if err := supervisor.Notify("/nowhere/at/all", "READY=1"); err == nil {
		t.Error("a parent that is not there was told")
	}
}
