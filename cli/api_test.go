package cli_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// call asks the API at the address that the command has told, and returns the status; 0
// while there is none.
func (st *stage) call(path, token string) (status int, body string) {
	m := regexp.MustCompile(`API at (http://[^/]+)/v1`).FindStringSubmatch(st.errs.String())
	if m == nil {
		return 0, ""
	}
	r, err := http.NewRequestWithContext(st.t.Context(), http.MethodGet, m[1]+path, nil)
	if err != nil {
		st.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestUpAnswersTheAPIToThoseWhoHaveTheToken(t *testing.T) {
	const token = "c4n4ry-c4n4ry-c4n4ry"
	sh := launch(t, "api: {listen: '127.0.0.1:0', token: "+token+"}\n")
	sh.sail()
	sh.await("the API", func() bool { status, _ := sh.call("/v1/letters", token); return status == http.StatusOK })
	if status, body := sh.call("/v1/letters", token+"x"); status != http.StatusUnauthorized {
		t.Errorf("status %d for a wrong token\n%s", status, body)
	}
	if status, body := sh.call("/v1/queues/async/why", token); !strings.Contains(body, `"name":"empty"`) {
		t.Errorf("status %d for why\n%s", status, body)
	}
	sh.anchor()
	if strings.Contains(sh.errs.String()+sh.out.String(), "c4n4ry") {
		t.Errorf("the token is shown:\n%s", sh.errs.String())
	}
}

func TestTheAPINeedsATokenEverywhere(t *testing.T) {
	for config, says := range map[string]string{
		"api: {listen: '127.0.0.1:0'}\n":                                             "needs api.token",
		"api: {listen: '0.0.0.0:0'}\n":                                               "needs a token",
		"api: {listen: 'example.org:0', token: c4n4ry-c4n4ry-c4n4ry}\n":              "neither an IP address",
		"api: {listen: '127.0.0.1:0', token: c4n4ry-c4n4ry-c4n4ry, token_file: x}\n": "api.token is set, too",
		"api: {listen: '127.0.0.1:0', token: c4n4ry}\n":                              "it needs at least 16",
	} {
		st := newStage(t, config)
		code := st.run("config", "validate")
		if text := st.errs.String(); code != 78 || !strings.Contains(text, says) || strings.Contains(text, "c4n4ry") {
			t.Errorf("%s: code %d\n%s", config, code, text)
		}
	}
	for _, config := range []string{
		"api: {listen: '127.0.0.1:0', token_file: /nowhere/at/all}\n",
	} {
		st := newStage(t, config)
		st.shop()
		code := st.run("up")
		text := st.errs.String()
		if code != 78 || !strings.Contains(text, "E-API-TOKEN") || strings.Contains(text, "c4n4ry") {
			t.Errorf("%s: code %d\n%s", config, code, text)
		}
	}
}
