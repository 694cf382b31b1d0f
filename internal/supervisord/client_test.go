package supervisord_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/supervisord"
)

// answers of supervisord 4.2.5, as it writes them.
const (
	processInfo = `<?xml version='1.0'?><methodResponse><params><param><value><array><data>
<value><struct>
<member><name>name</name><value><string>shop-mailers_00</string></value></member>
<member><name>group</name><value><string>shop</string></value></member>
<member><name>state</name><value><int>200</int></value></member>
<member><name>statename</name><value><string>FATAL</string></value></member>
<member><name>spawnerr</name><value><string>Exited too quickly &amp; so on</string></value></member>
</struct></value></data></array></value></param></params></methodResponse>`
	yes = `<?xml version='1.0'?><methodResponse><params><param><value><boolean>1</boolean></value></param></params>
</methodResponse>`
	faulty = `<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>60</int>
</value></member><member><name>faultString</name><value><string>ALREADY_STARTED: shop:a</string></value></member>
</struct></value></fault></methodResponse>`
)

// fake answers each call with the next answer, and keeps what it was asked.
type fake struct {
	answers []string
	asked   []string
	auth    string
}

// ServeHTTP answers.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.asked = append(f.asked, string(body))
	f.auth = r.Header.Get("Authorization")
	answer := f.answers[0]
	f.answers = f.answers[1:]
	if answer == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = io.WriteString(w, answer)
}

func newClient(t *testing.T, f *fake) *supervisord.Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	env := map[string]string{
		"SUPERVISOR_SERVER_URL": server.URL, "SUPERVISOR_USERNAME": "u", "SUPERVISOR_PASSWORD": "p",
	}
	c, err := supervisord.NewClient(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProcessesAreListedStartedAndStopped(t *testing.T) {
	f := &fake{answers: []string{processInfo, yes, yes}}
	c := newClient(t, f)
	all, err := c.Processes(t.Context())
	want := supervisord.Process{
		Group: "shop", Name: "shop-mailers_00", State: "FATAL", Reason: "Exited too quickly & so on",
	}
	if err != nil || len(all) != 1 || all[0] != want {
		t.Fatalf("%+v, %v", all, err)
	}
	odd := supervisord.Process{Group: "<&", Name: "x"}
	if err := errors.Join(c.Stop(t.Context(), all[0]), c.Start(t.Context(), odd)); err != nil {
		t.Fatal(err)
	}
	for i, parts := range [][]string{
		{"supervisor.getAllProcessInfo"},
		{"supervisor.stopProcess", "<string>shop:shop-mailers_00</string>", "<boolean>1</boolean>"},
		{"supervisor.startProcess", "<string>&lt;&amp;:x</string>", "<boolean>0</boolean>"},
	} {
		for _, part := range parts {
			if !strings.Contains(f.asked[i], part) {
				t.Errorf("call %d has no %s:\n%s", i, part, f.asked[i])
			}
		}
	}
	if f.auth != "Basic dTpw" {
		t.Errorf("authorization %q", f.auth)
	}
}

func TestARefusalAndAnAnswerThatIsNoneAreErrors(t *testing.T) {
	c := newClient(t, &fake{answers: []string{faulty, "", "<html>", ""}})
	err := c.Start(t.Context(), supervisord.Process{})
	var refused *supervisord.FaultError
	if !errors.As(err, &refused) || refused.Code != 60 || !strings.Contains(err.Error(), "ALREADY_STARTED") {
		t.Errorf("refusal: %v", err)
	}
	for range 2 {
		if _, err := c.Processes(t.Context()); err == nil {
			t.Error("no error")
		}
	}
}

func TestWithoutASocketNobodyCanBeAsked(t *testing.T) {
	for _, url := range []string{"", "ftp://x"} {
		_, err := supervisord.NewClient(func(string) (string, bool) { return url, url != "" })
		if !errors.Is(err, supervisord.ErrNoServer) {
			t.Errorf("%q: %v", url, err)
		}
	}
}
