package cli_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
)

// puppet is a supervisord that keeps a list of what it is asked to do.
type puppet struct{ asked []string }

// ServeHTTP lists a running worker of the group, a dead one, and strangers.
func (p *puppet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	method := regexp.MustCompile(`<methodName>supervisor\.(\w+)`).FindSubmatch(body)[1]
	if string(method) != "getAllProcessInfo" {
		name := regexp.MustCompile(`<string>(.*?)</string>`).FindSubmatch(body)[1]
		p.asked = append(p.asked, fmt.Sprintf("%s %s", method, name))
		_, _ = io.WriteString(w, "<methodResponse><params><param><value><boolean>1</boolean></value></param></params>"+
			"</methodResponse>")
		return
	}
	_, _ = io.WriteString(w, "<methodResponse><params><param><value><array><data>")
	for _, row := range [][3]string{
		{"shop", "w0", "RUNNING"}, {"shop", "w1", "STOPPED"}, {"other", "x", "FATAL"}, {"shop-health", "h", "RUNNING"},
	} {
		_, _ = fmt.Fprintf(w, "<value><struct><member><name>group</name><value><string>%s</string></value></member>"+
			"<member><name>name</name><value><string>%s</string></value></member>"+
			"<member><name>statename</name><value><string>%s</string></value></member></struct></value>", row[0], row[1], row[2])
	}
	_, _ = io.WriteString(w, "</data></array></value></param></params></methodResponse>")
}

// listen runs the listener on events, and returns what supervisord was asked to
// do and the log.
func listen(t *testing.T, st *stage, events string) (asked []string, log string) {
	t.Helper()
	p := &puppet{}
	server := httptest.NewServer(p)
	defer server.Close()
	var out, errs strings.Builder
	code := cli.Run(context.Background(), st.app, cli.IO{
		Args: []string{"supervisor-listener", "--config", st.config}, Stdin: strings.NewReader(events), Stdout: &out,
		Stderr: &errs, Environ: []string{"SUPERVISOR_SERVER_URL=" + server.URL},
	})
	if code != 0 {
		t.Errorf("code %d\n%s", code, errs.String())
	}
	if said := strings.ReplaceAll(out.String(), "READY\nRESULT 2\nOK", ""); said != "READY\n" {
		t.Errorf("stdout is the protocol's alone, and says %q", said)
	}
	return p.asked, errs.String()
}

// ticks are TICK_60 events from one minute to another.
func ticks(from, to int) string {
	var b strings.Builder
	for minute := from; minute < to; minute++ {
		payload := fmt.Sprintf("when:%d", 1_700_000_000+60*minute)
		fmt.Fprintf(&b, "ver:3.0 serial:%d eventname:TICK_60 len:%d\n%s", minute, len(payload), payload)
	}
	return b.String()
}

func TestTheListenerReplacesWorkersThatLiveWithoutWorkingUnderABudget(t *testing.T) {
	st := newStage(t, "programs: {p: {drain_timeout: 1s}}\n")
	posthorn.Handle(st.app.Mux, func(context.Context, greet) error { return nil })
	if code := st.run("dispatch", "greet", `{"to":"a"}`); code != 0 { // nobody will handle it
		t.Fatalf("dispatch: code %d\n%s", code, st.errs.String())
	}
	if asked, _ := listen(t, st, ticks(0, 2)); len(asked) != 0 {
		t.Errorf("after two ticks: %q", asked)
	}
	once := []string{"stopProcess shop:w0", "startProcess shop:w0"}
	asked, log := listen(t, st, ticks(0, 5))
	if fmt.Sprint(asked) != fmt.Sprint(once) {
		t.Errorf("after five ticks: %q, want %q", asked, once)
	}
	if n := strings.Count(log, "no living worker for async"); n != 1 {
		t.Errorf("the same verdict is logged %d times:\n%s", n, log)
	}
	asked, log = listen(t, st, ticks(0, 60))
	if len(asked) != 6 || !strings.Contains(log, "a person must look") {
		t.Errorf("within an hour it replaces three times, then it reports: %q\n%s", asked, log)
	}
	if asked, _ = listen(t, st, ticks(0, 66)); len(asked) != 10 {
		t.Errorf("after an hour there is a new budget, but %d calls were made: %q", len(asked), asked)
	}
}

func TestTheListenerReplacesNobodyForWhatNewWorkersWouldNotMend(t *testing.T) {
	st := newStage(t, "health: {max_failed: 0}\n")
	posthorn.Handle(st.app.Mux, func(context.Context, greet) error { return posthorn.Reject(os.ErrInvalid) })
	if asked, log := listen(t, st, ticks(0, 5)); len(asked) != 0 || !strings.Contains(log, "there is no store") {
		t.Errorf("no store: %q\n%s", asked, log)
	}
	for _, args := range [][]string{{"dispatch", "greet", `{"to":"a"}`}, {"consume", "-l", "1"}} {
		if code := st.run(args...); code != 0 {
			t.Fatalf("%v: code %d\n%s", args, code, st.errs.String())
		}
	}
	if asked, log := listen(t, st, ticks(0, 5)); len(asked) != 0 || !strings.Contains(log, "1 dead letters") {
		t.Errorf("a dead letter: %q\n%s", asked, log)
	}
}
