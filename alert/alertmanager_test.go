//go:build linux

package alert_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/monitor"
)

// patience is how long a test waits for something that has to come.
const patience = 60 * time.Second

// startAlertmanager starts a private Alertmanager that tells a receiver, and returns its
// address.
func startAlertmanager(t *testing.T, to string) (address string) {
	t.Helper()
	path := testserver.Program(t, "prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	config := filepath.Join(t.TempDir(), "alertmanager.yml")
	text := fmt.Sprintf("route: {receiver: test, group_wait: 1s, group_interval: 1s, group_by: [alertname]}\n"+
		"receivers: [{name: test, webhook_configs: [{url: '%s', send_resolved: true}]}]\n", to)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	testserver.Serve(t, "http://"+address+"/-/ready", path, "--config.file="+config, "--storage.path="+t.TempDir(),
		"--web.listen-address="+address, "--cluster.listen-address=")
	return address
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !yes(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to pass: %s", what)
		}
	}
}

// told are the alerts that Alertmanager has told a receiver, in a line each.
func (r *receiver) told(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, body := range r.taken() {
		var message struct {
			Alerts []struct {
				Status              string
				Labels, Annotations map[string]string
			}
		}
		if err := json.Unmarshal([]byte(body), &message); err != nil {
			t.Fatal(err)
		}
		for _, a := range message.Alerts {
			lines = append(lines, fmt.Sprintf("%s %s %s %s: %s, %s", a.Status, a.Labels["severity"], a.Labels["alertname"],
				a.Labels["subject"], a.Annotations["summary"], a.Annotations["run"]))
		}
	}
	return strings.Join(lines, "\n")
}

func TestAlertmanagerTellsWhatItIsPostedAndThatItIsOver(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s := alert.NewAlertmanager(alert.Plain("http://"+startAlertmanager(t, r.URL)), "shop", time.Minute, nil)
	post := func(event alert.Event, level, was monitor.Level) {
		t.Helper()
		c := condition("new_failed", "mail", level)
		c.Since = time.Now().Add(-time.Minute)
		n := alert.Notice{ID: "1", Channel: "ops", Event: event, Condition: c, Was: was, At: time.Now()}
		if event == alert.Resolved {
			n.Ended = time.Now()
		}
		if err := send(t, s, n); err != nil {
			t.Fatal(err)
		}
	}
	arrives := func(line string) {
		t.Helper()
		line += " PosthornNewFailed mail: new_failed is bad, shop failed list"
		eventually(t, line, func() bool { return strings.Contains(r.told(t), line) })
	}
	post(alert.Firing, monitor.Warning, monitor.OK)
	arrives("firing warning")
	post(alert.Worse, monitor.Critical, monitor.Warning)
	arrives("firing critical")
	arrives("resolved warning") // it is another alert to Alertmanager
	post(alert.Resolved, monitor.Critical, monitor.Critical)
	arrives("resolved critical")
}
