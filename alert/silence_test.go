package alert_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/monitor"
)

func TestAMatcherPicksConditions(t *testing.T) {
	t.Parallel()
	c := monitor.Condition{Name: "crash_loop", Subject: "mailers", Host: "web1", Level: monitor.Critical}
	for text, want := range map[string]bool{
		"crash_loop": true, "crash*": true, "*": true, "crash": false, "*loop": true, "c*h*p": true, "c*x*p": false,
		"rule=crash_loop,host=web1": true, "host=web2": false, "subject=mail*,level=critical": true,
		"level=warning": false, "crash_loop,host=web*": true, "host=*1": true, "a*a": false,
	} {
		m, err := alert.ParseMatcher(text)
		if err != nil || m.Matches(c) != want {
			t.Errorf("%s: %v, %v", text, m.Matches(c), err)
		}
		again, err := alert.ParseMatcher(m.String())
		if err != nil || again != m {
			t.Errorf("%s becomes %s: %v", text, m, err)
		}
	}
	for _, text := range []string{"", "rule=", "color=red", "host=a,host=b", "host=a,b", ",", "rule=a,b"} {
		if m, err := alert.ParseMatcher(text); err == nil {
			t.Errorf("%q is %+v", text, m)
		}
	}
}

func TestASilenceNeedsAReasonAndAnEnd(t *testing.T) {
	t.Parallel()
	good := alert.Silence{
		Match: alert.Matcher{Rule: "failed"}, Reason: "known", Actor: "ops", Created: noon, Until: noon.Add(time.Hour),
	}
	for name, change := range map[string]func(*alert.Silence){
		"of nothing":   func(s *alert.Silence) { s.Match = alert.Matcher{} },
		"no reason":    func(s *alert.Silence) { s.Reason = " \n" },
		"in the past":  func(s *alert.Silence) { s.Until = noon },
		"for ever":     func(s *alert.Silence) { s.Until = noon.Add(400 * 24 * time.Hour) },
		"too long":     func(s *alert.Silence) { s.Reason = strings.Repeat("x", 301) },
		"a zero byte":  func(s *alert.Silence) { s.Actor = "a\x00b" },
		"not in UTF-8": func(s *alert.Silence) { s.Reason = "\xff" },
	} {
		bad := good
		change(&bad)
		if _, _, err := (alert.State{}).Silence(bad); !errors.Is(err, alert.ErrSilence) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, n, err := alert.State{}.Silence(good)
	if err != nil || n.ID != "s1" {
		t.Fatalf("it is %+v: %v", n, err)
	}
	s, second, err := s.Silence(good)
	if err != nil || second.ID != "s2" || len(s.Silences) != 2 {
		t.Fatalf("the second is %+v: %v", second, err)
	}
	s, ok := s.Unsilence("s1")
	if _, none := s.Unsilence("s1"); !ok || none || len(s.Silences) != 1 {
		t.Errorf("left are %+v", s.Silences)
	}
	c := condition("failed", "", monitor.Critical)
	if _, ok := s.Silenced(c, noon.Add(59*time.Minute)); !ok {
		t.Error("it does not silence")
	}
	if _, ok := s.Silenced(c, noon.Add(time.Hour)); ok {
		t.Error("it does not end")
	}
}
