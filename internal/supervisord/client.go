package supervisord

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// ErrNoServer means that supervisord has no socket on which it could be asked.
var ErrNoServer = errors.New("supervisord has no [unix_http_server] and no [inet_http_server]")

// maxAnswer bounds an answer of supervisord.
const maxAnswer = 8 << 20

// The states of a process that matter to a watcher.
const (
	StateRunning = "RUNNING"
	StateFatal   = "FATAL"
)

// A Process is what supervisord says of one of its processes.
type Process struct {
	Group, Name string
	State       string // like RUNNING
	Reason      string // why it could not be started, if so
}

// FullName is the name by which supervisord wants to be asked.
func (p Process) FullName() string { return p.Group + ":" + p.Name }

// A FaultError is supervisord's refusal of a call.
type FaultError struct {
	Code int
	Text string
}

// Error gives the fault in one line.
func (e *FaultError) Error() string {
	return fmt.Sprintf("supervisord refused: %s (%d)", e.Text, e.Code)
}

// A Client asks a supervisord. It may be used concurrently.
type Client struct {
	http     *http.Client
	url      string
	user     string
	password string
}

// NewClient makes a client of the environment that supervisord gives to its
// children: SUPERVISOR_SERVER_URL and, with a password on the socket,
// SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD.
func NewClient(lookup func(name string) (string, bool)) (*Client, error) {
	url, _ := lookup("SUPERVISOR_SERVER_URL")
	c := &Client{http: &http.Client{}, url: strings.TrimSuffix(url, "/") + "/RPC2"}
	c.user, _ = lookup("SUPERVISOR_USERNAME")
	c.password, _ = lookup("SUPERVISOR_PASSWORD")
	switch {
	case url == "":
		return nil, ErrNoServer
	case strings.HasPrefix(url, "unix://"):
		path := strings.TrimPrefix(url, "unix://")
		var d net.Dialer
		c.url = "http://localhost/RPC2"
		c.http.Transport = &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }}
	case strings.HasPrefix(url, "http://"):
		c.http.Transport = &http.Transport{DisableKeepAlives: true} // and no proxy
	default:
		return nil, fmt.Errorf("%w: SUPERVISOR_SERVER_URL is %q", ErrNoServer, url)
	}
	return c, nil
}

// Processes lists all processes.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	v, err := c.call(ctx, "supervisor.getAllProcessInfo", "")
	if err != nil {
		return nil, err
	}
	out := make([]Process, len(v.Array))
	for i, e := range v.Array {
		m := e.members()
		out[i] = Process{
			Group: m["group"].text(), Name: m["name"].text(), State: m["statename"].text(), Reason: m["spawnerr"].text(),
		}
	}
	return out, nil
}

// Start starts a process and does not wait for it.
func (c *Client) Start(ctx context.Context, p Process) error {
	_, err := c.call(ctx, "supervisor.startProcess", p.FullName())
	return err
}

// Stop stops a process and waits until it has ended, which can take its
// stopwaitsecs.
func (c *Client) Stop(ctx context.Context, p Process) error {
	_, err := c.call(ctx, "supervisor.stopProcess", p.FullName())
	return err
}

// call makes a call with at most one name. A stop waits for its end, a start
// does not.
func (c *Client) call(ctx context.Context, method, name string) (value, error) {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?><methodCall><methodName>` + method + `</methodName><params>`)
	if name != "" {
		b.WriteString(`<param><value><string>`)
		_ = xml.EscapeText(&b, []byte(name)) // a buffer takes all
		wait := "0"
		if method == "supervisor.stopProcess" {
			wait = "1"
		}
		b.WriteString(`</string></value></param><param><value><boolean>` + wait + `</boolean></value></param>`)
	}
	b.WriteString(`</params></methodCall>`)
	v, err := c.post(ctx, &b)
	if err != nil {
		return value{}, fmt.Errorf("call %s: %w", strings.TrimPrefix(method, "supervisor."), err)
	}
	return v, nil
}

func (c *Client) post(ctx context.Context, body io.Reader) (value, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, body)
	if err != nil {
		return value{}, err
	}
	req.Header.Set("Content-Type", "text/xml")
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return value{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return value{}, fmt.Errorf("supervisord answers %s", res.Status)
	}
	var answer response
	if err := xml.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&answer); err != nil {
		return value{}, fmt.Errorf("read answer: %w", err)
	}
	if answer.Fault != nil {
		m := answer.Fault.members()
		code, _ := strconv.Atoi(m["faultCode"].text())
		return value{}, &FaultError{Code: code, Text: m["faultString"].text()}
	}
	return answer.Value, nil
}

// response is the answer to a call.
type response struct {
	Value value  `xml:"params>param>value"`
	Fault *value `xml:"fault>value"`
}

// value is a value of XML-RPC, as far as supervisord uses them.
type value struct {
	Bare    string   `xml:",chardata"` // a string may stand without its type
	String  *string  `xml:"string"`
	Int     *string  `xml:"int"`
	Array   []value  `xml:"array>data>value"`
	Members []member `xml:"struct>member"`
}

// member is a field of a structure.
type member struct {
	Name  string `xml:"name"`
	Value value  `xml:"value"`
}

// members are the fields of a structure.
func (v value) members() map[string]value {
	out := make(map[string]value, len(v.Members))
	for _, m := range v.Members {
		out[m.Name] = m.Value
	}
	return out
}

// text is the value of a string or a number.
func (v value) text() string {
	switch {
	case v.String != nil:
		return *v.String
	case v.Int != nil:
		return *v.Int
	}
	return strings.TrimSpace(v.Bare)
}
