package supervisord_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/supervisord"
)

const (
	tick  = "ver:3.0 server:supervisor serial:21 pool:shop-health poolserial:10 eventname:TICK_60 len:15\nwhen:1201063880"
	fatal = "ver:3.0 server:supervisor serial:22 pool:shop-health poolserial:11 eventname:PROCESS_STATE_FATAL len:58\n" +
		"processname:mailers_00 groupname:shop from_state:BACKOFF 42"
	output = "ver:3.0 serial:23 eventname:PROCESS_LOG_STDOUT len:24\nprocessname:a\nhello:world\n"
)

func TestEventsAreReadOneAfterTheOtherAndEachIsAcknowledged(t *testing.T) {
	var out strings.Builder
	in := strings.Replace(fatal, "len:58", "len:59", 1)
	l := supervisord.NewListener(strings.NewReader(tick+in), &out)
	e, err := l.Next()
	if err != nil || !e.IsTick() || e.Fields["when"] != "1201063880" {
		t.Fatalf("tick: %+v, %v", e, err)
	}
	if err := l.Done(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "READY\nRESULT 2\nOK" {
		t.Errorf("said %q", got)
	}
	e, err = l.Next()
	if err != nil || e.Name != supervisord.EventFatal || e.IsTick() || e.Fields["groupname"] != "shop" {
		t.Fatalf("fatal: %+v, %v", e, err)
	}
	if _, err := l.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if got := strings.Count(out.String(), "READY\n"); got != 3 {
		t.Errorf("ready %d times, want 3", got)
	}
}

func TestDataAfterThePayloadsFieldsIsNoField(t *testing.T) {
	e, err := supervisord.NewListener(strings.NewReader(output), io.Discard).Next()
	if err != nil || e.Fields["processname"] != "a" || e.Fields["hello"] != "" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestWhatIsNoEventIsAnErrorAndBounded(t *testing.T) {
	for _, in := range []string{
		"\n", "eventname:TICK_5\n", "eventname:TICK_5 len:-1\n", "eventname:TICK_5 len:x\n", "len:0\n",
		"eventname:TICK_5 len:999999999\n", strings.Repeat("x", 1<<20),
	} {
		_, err := supervisord.NewListener(strings.NewReader(in), io.Discard).Next()
		if !errors.Is(err, supervisord.ErrProtocol) {
			t.Errorf("%.40q: %v", in, err)
		}
	}
	for _, in := range []string{"eventname:TICK_5", "eventname:TICK_5 len:9\nwhen"} {
		_, err := supervisord.NewListener(strings.NewReader(in), io.Discard).Next()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q was cut off: %v", in, err)
		}
	}
}

func FuzzAnyInputIsEventsAndThenAnEnd(f *testing.F) {
	for _, s := range []string{tick, fatal, output, tick + tick, "\n", "a:b len:0 eventname:\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		l := supervisord.NewListener(strings.NewReader(in), io.Discard)
		for range len(in) + 1 {
			e, err := l.Next()
			if err != nil {
				return
			}
			if e.Name == "" {
				t.Fatalf("%q: an event without a name", in)
			}
		}
		t.Fatalf("%q: more events than bytes", in)
	})
}
