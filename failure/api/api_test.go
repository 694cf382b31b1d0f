package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/api"
	"github.com/posthorn/posthorn/store"
)

// page is what lists have in common.
type page struct {
	Items []struct {
		ID, Fingerprint, State, Verb, Actor, Error string
	}
	Next int64
	Rest *struct {
		Count int64
		Exact bool
	}
}

func (p page) ids() (out []string) {
	for _, i := range p.Items {
		out = append(out, i.ID)
	}
	return out
}

// everywhere runs a test on a service of each kind of store.
func everywhere(t *testing.T, test func(v *service)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"SQLite", "PostgreSQL", "MariaDB"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(serve(t, open(t, kind)))
		})
	}
}

func TestLettersAreListedShownAndEdited(t *testing.T) {
	everywhere(t, func(v *service) {
		bury(v.T, v.store, `{"To":"x","n":1.50}`, "a", "b")
		bury(v.T, v.store, "\xff", "c")
		first := get[page](v, ask{path: "GET /v1/letters?limit=2&query=error:no*", want: 200})
		if got := first.ids(); !slices.Equal(got, []string{"a", "b"}) || first.Rest.Count != 1 || !first.Rest.Exact {
			v.Errorf("the first page is %+v", first)
		}
		if first.Items[0].Error != hostile { // the escapes are JSON's
			v.Errorf("the error is %q", first.Items[0].Error)
		}
		next := get[page](v, ask{path: fmt.Sprintf("GET /v1/letters?limit=2&past=%d", first.Next), want: 200})
		if got := next.ids(); !slices.Equal(got, []string{"c"}) || next.Next != 0 || next.Rest != nil {
			v.Errorf("the second page is %+v", next)
		}
		v.edits()
		if got := v.do(ask{path: "GET /v1/letters/c/body", want: 200}); string(got.body) != "\xff" {
			v.Errorf("the body is %q", got.body)
		}
		v.do(ask{path: "GET /v1/letters/nobody", want: 404})
		v.exports()
	})
}

func TestWhatLooksLikeASecretIsShownOnlyWhenAsked(t *testing.T) {
	s := open(t, "SQLite")
	const byName, byType, inHeader = "k2f9x7", "d00r17", "b34r3r"
	buryEach(t, s, driver.Envelope{
		ID: "a", Body: []byte(`{"To":"x","token":"` + byName + `","door":"` + byType + `"}`),
		Header: map[string]string{"authorization": inHeader},
	})
	v := serve(t, s)
	v.do(ask{path: "PATCH /v1/letters/a", body: `{"To":"y"}`, want: 200, header: []string{
		"Content-Type", "application/merge-patch+json", "If-Match",
		v.do(ask{path: "GET /v1/letters/a", want: 200}).header.Get("ETag"),
	}})
	for path, want := range map[string]int{
		"GET /v1/letters/a": 0, "GET /v1/letters": 0, "GET /v1/letters/a?reveal=true": 2, // with its revision
	} {
		body := v.do(ask{path: path, want: 200}).body
		for _, secret := range []string{byName, byType, inHeader} {
			if n := bytes.Count(body, []byte(secret)); n != want {
				t.Errorf("%s shows %s %d times, want %d", path, secret, n, want)
			}
		}
		if want == 0 && !bytes.Contains(body, []byte("header.authorization")) {
			t.Errorf("%s does not say that the header is hidden", path)
		}
	}
}

func TestAnEditByAnOperationIsShownWithoutTheSecretsOfItsPatch(t *testing.T) {
	t.Parallel()
	s := open(t, "SQLite")
	bury(t, s, `{"To":"x"}`, "a")
	v := serve(t, s)
	const byName, byType = "k2f9x7", "d00r17"
	o, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionEdit, Unchecked: true, Patch: []byte(
		`[{"op":"add","path":"/token","value":"` + byName + `"},{"op":"add","path":"/door","value":"` + byType + `"}]`)})
	try(t, err)
	for _, a := range []ask{
		{path: "GET /v1/operations", want: 200}, {path: "GET /v1/operations/" + o.ID, want: 200},
		{path: "POST /v1/operations/" + o.ID + "/cancel", body: `{}`, want: 200},
	} {
		text := string(v.do(a).body)
		if strings.Contains(text, byName) || strings.Contains(text, byType) || !strings.Contains(text, `"patch.1.value"`) {
			t.Errorf("%s shows a secret, or does not say that it hides one:\n%s", a.path, text)
		}
	}
}

// edits edits letter a, each time as a version that was seen.
func (v *service) edits() {
	v.Helper()
	const path, merge = "PATCH /v1/letters/a", `{"To":"y"}`
	tag := v.do(ask{path: "GET /v1/letters/a", want: 200}).header.Get("ETag")
	patched := func(want int, body string, header ...string) answer {
		v.Helper()
		header = append(header, "Content-Type", "application/merge-patch+json")
		return v.do(ask{path: path, body: body, want: want, header: header})
	}
	patched(428, merge)
	patched(412, merge, "If-Match", `"1-9"`)
	patched(422, `{"To":""}`, "If-Match", tag) // the handler refuses it
	patched(422, `{"To":`, "If-Match", tag)    // no patch at all
	next := patched(200, merge, "If-Match", tag).header.Get("ETag")
	patched(412, `{"To":"z"}`, "If-Match", tag) // somebody was faster
	v.do(ask{path: path, body: `[{"op":"replace","path":"/To","value":"z"}]`, want: 200,
		header: []string{"Content-Type", "application/json-patch+json", "If-Match", next}})
	if got := v.do(ask{path: "GET /v1/letters/a/body", want: 200}); string(got.body) != `{"To":"z","n":1.50}` {
		v.Errorf("the body is %q", got.body)
	}
	whole := get[struct {
		Edits               int
		Revisions, Timeline []struct{ What, Actor string }
	}](v, ask{path: "GET /v1/letters/a", want: 200})
	var life []string
	for _, m := range whole.Timeline {
		life = append(life, m.What)
	}
	if whole.Edits != 2 || len(whole.Revisions) != 2 || !slices.Contains(life, "edit") || life[0] != "sent" {
		v.Errorf("after two edits it is %+v", whole)
	}
	v.unchanged()
	body := ask{path: "PUT /v1/letters/c/body", body: "\xfe", want: 422}
	body.header = []string{"Content-Type", "application/octet-stream", "If-Match",
		v.do(ask{path: "GET /v1/letters/c", want: 200}).header.Get("ETag")}
	v.do(body) // the handler cannot decode it
}

// unchanged gives letters back what they have already: none becomes another version, and one
// that is to be retried is.
func (v *service) unchanged() {
	v.Helper()
	bury(v.T, v.store, `{"To":""}`, "same") // the handler would refuse it as a new version
	type edited struct {
		Edits            int
		Changed, Retried bool
	}
	put := func(query, tag string, want int) edited {
		v.Helper()
		return get[edited](v, ask{path: "PUT /v1/letters/same/body" + query, body: `{"To":""}`, want: want,
			header: []string{"Content-Type", "application/json", "If-Match", tag}})
	}
	tag := v.do(ask{path: "GET /v1/letters/same", want: 200}).header.Get("ETag")
	if got := put("", tag, 200); got != (edited{}) {
		v.Errorf("an edit that changes nothing gives %+v", got)
	}
	if got := put("?retry=true", tag, 200); got != (edited{Retried: true}) {
		v.Errorf("a retry of it gives %+v", got)
	}
	if rs, err := v.store.Revisions(v.Context(), "same"); err != nil || len(rs) != 0 {
		v.Errorf("it has %d revisions, %v", len(rs), err)
	}
	if acts := get[page](v, ask{path: "GET /v1/audit?message=same", want: 200}); acts.Items[0].Verb != "retry" {
		v.Errorf("the audit has %+v", acts)
	}
	put("?retry=true", tag, 404)
}

// exports exports everything, and imports it again.
func (v *service) exports() {
	v.Helper()
	out := v.do(ask{path: "GET /v1/export", want: 200})
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(out.body)); lines.Scan(); n++ {
		if _, err := failure.Decode(lines.Bytes(), driver.MaxBody); err != nil {
			v.Error(err)
		}
	}
	if n != 3 {
		v.Errorf("%d letters were exported", n)
	}
	v.imports(string(out.body))
	if out := v.do(ask{path: "GET /v1/export?kind=none", want: 200}); len(out.body) != 0 {
		v.Errorf("nothing was exported as %q", out.body)
	}
}

// imports imports three letters that were exported.
func (v *service) imports(text string) {
	v.Helper()
	lines := []string{"Content-Type", "application/x-ndjson"}
	v.do(ask{path: "POST /v1/import", body: text, header: lines, want: 409})
	v.do(ask{path: "POST /v1/import", body: text, want: 415})
	v.do(ask{path: "POST /v1/import", body: text + "{}\n", header: lines, want: 422})
	type imported struct{ Letters, Skipped int }
	v.do(ask{path: "POST /v1/letters/purge", body: `{"ids":["a","b"],"confirm":"purge 2"}`, want: 200})
	again := ask{path: "POST /v1/import?skip_existing=true", body: text, header: lines, want: 200}
	if got := get[imported](v, again); got != (imported{2, 1}) {
		v.Errorf("an import gives %+v", got)
	}
	if got := v.do(ask{path: "GET /v1/export", want: 200}); len(got.body) != len(text) {
		v.Errorf("after the import it exports\n%s\nand before\n%s", got.body, text)
	}
}

func TestLettersAreRetriedRemovedRestoredAndPurged(t *testing.T) {
	everywhere(t, func(v *service) {
		bury(v.T, v.store, `{"To":"x"}`, "a", "b", "c")
		type changed struct {
			Changed          int
			Clashed, Missing []string
		}
		act := func(verb, body string, want int) changed {
			v.Helper()
			return get[changed](v, ask{path: "POST /v1/letters/" + verb, body: body, want: want,
				header: []string{"Posthorn-Actor", "ann\u202e"}})
		}
		if got := act("retry", `{"ids":["a","nobody"],"reason":"mended"}`, 200); got.Changed != 1 || len(got.Missing) != 1 {
			v.Errorf("a retry gives %+v", got)
		}
		act("retry", `{"ids":["a"]}`, 404)
		why := get[struct{ Place string }](v, ask{path: "GET /v1/messages/a/why", want: 200})
		if why.Place != string(store.PlaceReady) {
			v.Errorf("the letter is %s after its retry", why.Place)
		}
		v.do(ask{path: "GET /v1/messages/nobody/why", want: 404})
		v.do(ask{path: "GET /v1/queues/q/why", want: 200})
		v.do(ask{path: "GET /v1/queues/p/why", want: 404})
		act("remove", `{"ids":["b","c"]}`, 200)
		act("remove", `{"ids":["b","c"],"confirm":"b"}`, 400)
		act("restore", `{"ids":["c"]}`, 200)
		act("purge", `{"ids":["b"],"discarded":true,"confirm":"purge 1"}`, 422)
		act("purge", `{"ids":["b"],"discarded":true,"confirm":"b"}`, 200)
		v.do(ask{path: "GET /v1/letters/b", want: 404})
		acts := get[page](v, ask{path: "GET /v1/audit?limit=4", want: 200})
		var did []string
		for _, i := range acts.Items {
			did = append(did, i.Actor+" "+i.Verb)
		}
		const ann = `api:ann\u{202e} `
		if want := []string{ann + "purge", ann + "restore", ann + "remove", ann + "retry"}; !slices.Equal(did, want) {
			v.Errorf("the audit has %q, want %q", did, want)
		}
	})
}

func TestWhatIsInTheWayOfARestoreIsNamedAndKeepsNobodyElseBack(t *testing.T) {
	everywhere(t, func(v *service) {
		bury(v.T, v.store, `{"To":"x"}`, "a", "b")
		v.do(ask{path: "POST /v1/letters/remove", body: `{"ids":["a","b"]}`, want: 200})
		bury(v.T, v.store, `{"To":"x"}`, "a")
		got := get[struct {
			Changed int
			Clashed []string
		}](v, ask{path: "POST /v1/letters/restore", body: `{"ids":["a","b"]}`, want: 200})
		if got.Changed != 1 || !slices.Equal(got.Clashed, []string{"a"}) {
			v.Errorf("it gives %+v", got)
		}
		p := get[struct{ Code, Detail string }](v, ask{path: "POST /v1/letters/restore", body: `{"ids":["a"]}`, want: 409})
		if p.Code != "E-MESSAGE-DUPLICATE" || p.Detail != `a live message or another dead letter has the same id: ["a"]` {
			v.Errorf("the problem is %+v", p)
		}
	})
}

func TestListsAndChangesOfLettersAskForNoBodies(t *testing.T) {
	t.Parallel()
	s := open(t, "SQLite")
	bury(t, s, `{"To":"`+strings.Repeat("x", 1<<20-100)+`"}`, "a", "b", "c")
	s.SQL.Letters = "this statement reads bodies" // nobody may run it
	v := serve(t, s)
	list := get[page](v, ask{path: "GET /v1/letters?limit=2&query=header.h:v", want: 200})
	if len(list.Items) != 2 {
		v.Errorf("listed %+v", list)
	}
	v.do(ask{path: "POST /v1/operations", body: `{"action":"retry","filter":{"kind":"parcel"},"dry_run":true}`, want: 200})
	v.do(ask{path: "POST /v1/letters/remove", body: `{"ids":["a"]}`, want: 200})
	v.do(ask{path: "POST /v1/letters/restore", body: `{"ids":["a"]}`, want: 200})
	v.do(ask{path: "POST /v1/letters/purge", body: `{"ids":["a"],"confirm":"a"}`, want: 200})
	v.do(ask{path: "POST /v1/letters/retry", body: `{"ids":["b"]}`, want: 200})
	v.do(ask{path: "GET /v1/letters/c/body", want: 500})
}

func TestGroupsAndOperations(t *testing.T) {
	everywhere(t, func(v *service) {
		bury(v.T, v.store, `{"To":"x"}`, "a", "b", "c")
		groups := get[page](v, ask{path: "GET /v1/groups", want: 200})
		if len(groups.Items) != 1 {
			v.Fatalf("the groups are %+v", groups)
		}
		group := "/v1/groups/" + groups.Items[0].Fingerprint[:6]
		v.do(ask{path: "PATCH " + group, body: `{"state":"muted","note":"<b>"}`, want: 200})
		v.do(ask{path: "PATCH " + group, body: `{"state":"regressed"}`, want: 422})
		v.do(ask{path: "PATCH " + group, body: `{}`, want: 400})
		v.do(ask{path: "GET /v1/groups/f00", want: 404})
		if left := get[page](v, ask{path: "GET /v1/groups", want: 200}); len(left.Items) != 0 {
			v.Errorf("a muted group is listed: %+v", left)
		}
		muted := get[page](v, ask{path: "GET /v1/groups?state=muted&state=open", want: 200})
		if len(muted.Items) != 1 || muted.Items[0].State != "muted" {
			v.Errorf("the muted groups are %+v", muted)
		}
		v.operates(groups.Items[0].Fingerprint)
	})
}

// operates starts an operation on three letters of a group, and turns it.
func (v *service) operates(fingerprint string) {
	v.Helper()
	start := func(body string, want int) (o struct {
		ID, State string
		Total     int
	}) {
		v.Helper()
		got := v.do(ask{path: "POST /v1/operations", body: body, want: want})
		unmarshal(v, got.body, &o)
		if want == http.StatusCreated && got.header.Get("Location") != "/v1/operations/"+o.ID {
			v.Errorf("it is at %q", got.header.Get("Location"))
		}
		return o
	}
	filter := `"filter":{"group":"` + fingerprint[:8] + `","query":"error:no*"}`
	if p := start(`{"action":"remove",`+filter+`,"dry_run":true}`, 200); p.Total != 3 {
		v.Errorf("the preview has %d", p.Total)
	}
	if list := get[page](v, ask{path: "GET /v1/operations", want: 200}); len(list.Items) != 0 {
		v.Errorf("a preview has made %+v", list)
	}
	start(`{"action":"remove","filter":{}}`, 400)
	start(`{"action":"remove","filter":{"kind":"none"}}`, 404)
	start(`{"action":"burn","filter":{"all":true}}`, 422)
	start(`{"action":"remove","filter":{"all":true,"kidn":"x"}}`, 400)
	o := start(`{"action":"retry",`+filter+`,"canary":true,"rate":5,"reason":"mended"}`, 201)
	for _, turn := range []string{"pause", "resume", "cancel"} {
		v.do(ask{path: "POST /v1/operations/" + o.ID + "/" + turn, body: `{"reason":"so"}`, want: 200})
	}
	v.do(ask{path: "POST /v1/operations/" + o.ID + "/pause", body: `{}`, want: 409})
	v.do(ask{path: "GET /v1/operations/nobody", want: 404})
	if is := get[struct{ State string }](v, ask{path: "GET /v1/operations/" + o.ID, want: 200}); is.State != "cancelled" {
		v.Errorf("it is %s", is.State)
	}
	start(`{"action":"remove","filter":{"all":true}}`, 201)
	list := get[page](v, ask{path: "GET /v1/operations?limit=1", want: 200})
	if len(list.Items) != 1 || list.Next == 0 {
		v.Errorf("the first page is %+v", list)
	}
}

// What is put on a queue whose name was mistyped waits for ever.
func TestRetriesGoToNoQueueThatNobodyHasHeardOf(t *testing.T) {
	t.Parallel()
	s := open(t, "SQLite")
	bury(t, s, `{"To":"x"}`, "a")
	v := serveWith(t, api.Options{Store: s, Queues: []string{"slow"}})
	wish := func(rest string) string { return `{"action":"retry","filter":{"all":true},` + rest + `}` }
	start := "POST /v1/operations"
	for _, body := range []string{wish(`"to":"slwo"`), wish(`"to":"slwo","dry_run":true`)} {
		p := get[struct{ Code, Detail, Try string }](v, ask{path: start, body: body, want: 422})
		if p.Code != "E-CONFIRM" || !strings.Contains(p.Detail, "slwo") ||
			p.Try != `if it is meant, confirm by "slwo"; the queues are ["q" "slow"]` {
			t.Errorf("%s: the problem is %+v", body, p)
		}
	}
	for body, want := range map[string]int{
		wish(`"to":"s w"`): 422, wish(`"to":"slwo","confirm":"slow"`): 400, wish(`"confirm":"q"`): 400,
		`{"action":"remove","filter":{"all":true},"to":"slwo"}`: 422,
	} {
		if p := get[struct{ Code string }](v, ask{path: start, body: body, want: want}); p.Code == "E-CONFIRM" {
			t.Errorf("%s: the problem is %+v", body, p)
		}
	}
	if list := get[page](v, ask{path: "GET /v1/operations", want: 200}); len(list.Items) != 0 {
		t.Errorf("one of them has made %+v", list)
	}
	for _, known := range []string{"slow", "q"} {
		v.do(ask{path: start, body: wish(`"dry_run":true,"to":"` + known + `"`), want: 200})
	}
	v.do(ask{path: start, body: wish(`"to":"slwo","confirm":"slwo"`), want: 201})
}

func TestNobodyGetsInWhoMayNot(t *testing.T) {
	t.Parallel()
	v := serve(t, open(t, "SQLite"))
	bury(t, v.store, `{"To":"x"}`, "a")
	const list, retry, ids = "GET /v1/letters", "POST /v1/letters/retry", `{"ids":["a"]}`
	for _, a := range []ask{
		{path: list, header: []string{"Authorization", ""}, want: 401},
		{path: list, header: []string{"Authorization", "Bearer wrong-wrong-wrong"}, want: 401},
		{path: list, header: []string{"Authorization", "Basic " + token}, want: 401},
		{path: "GET /v1/nothing", header: []string{"Authorization", ""}, want: 401},
		{path: retry, body: ids, header: []string{"Origin", "https://evil.example"}, want: 403},
		{path: retry, body: ids, header: []string{"Origin", "null"}, want: 403},
		{path: retry, body: ids, header: []string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{path: list, header: []string{"Host", "rebound.example"}, want: 421},
		{path: retry, body: ids, header: []string{"Content-Type", "text/plain"}, want: 415},
		{path: retry, body: strings.Repeat(" ", 300<<10) + ids, want: 413},
		{path: retry, body: ids + ids, want: 400},
		{path: retry, body: `{"ids":["a"],"id":"b"}`, want: 400},
		{path: retry, body: `{"ids":[]}`, want: 400},
		{path: list + "?kidn=x", want: 400},
		{path: list + "?kind=x&kind=y", want: 400},
		{path: list + "?limit=-1", want: 400},
		{path: list + "?query=nofield:x", want: 400},
		{path: list, header: []string{"Posthorn-Actor", strings.Repeat("x", 101)}, want: 400},
		{path: "DELETE /v1/letters", want: 405},
		{path: "GET /v1/nothing", want: 404},
		{path: "GET /v2/letters", want: 404},
	} {
		v.do(a)
	}
	if n := get[page](v, ask{path: list, want: 200}); len(n.Items) != 1 {
		t.Errorf("one of them did something: %+v", n)
	}
	same := ask{path: retry, body: ids, header: []string{"Origin", v.base, "Sec-Fetch-Site", "same-origin"}, want: 200}
	v.do(same)
}

func TestAStoreThatIsAwayIsSaidWithoutDetails(t *testing.T) {
	t.Parallel()
	s := open(t, "SQLite")
	v := serve(t, s)
	try(t, s.Close())
	if got := v.do(ask{path: "GET /v1/letters", want: 503}); bytes.Contains(got.body, []byte("detail")) ||
		got.header.Get("Retry-After") == "" {
		t.Errorf("it says %s, %v", got.body, got.header)
	}
}

// stall sends a request, or the beginning of one, and does not go on.
func (v *service) stall(head string) net.Conn {
	v.Helper()
	conn, err := (&net.Dialer{}).DialContext(v.Context(), "tcp", strings.TrimPrefix(v.base, "http://"))
	try(v.T, err)
	v.Cleanup(func() { _ = conn.Close() })
	try(v.T, conn.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err = fmt.Fprintf(conn, "%s\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n{", head, token)
	try(v.T, err)
	return conn
}

// Slow requests take the room that there is, and the end of the server cuts them off, and
// waits until none of them uses the store.
func TestSlowRequestsKeepNobodyFromEndingIt(t *testing.T) {
	t.Parallel()
	v := serve(t, open(t, "SQLite"))
	const room, letters = 16, 12
	for i := range letters { // too many for the buffers of a connection
		bury(t, v.store, `"`+strings.Repeat("x", 1<<19)+`"`, fmt.Sprint(i))
	}
	export := v.stall("GET /v1/export HTTP/1.1")
	_, err := io.ReadFull(export, make([]byte, 100))
	try(t, err)
	for range room - 1 {
		v.stall("POST /v1/letters/retry HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100")
	}
	busy := func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.base+"/v1/nothing", nil)
		try(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := v.client.Do(r)
		try(t, err)
		try(t, resp.Body.Close())
		return resp.StatusCode == http.StatusServiceUnavailable
	}
	for deadline := time.Now().Add(time.Minute); !busy(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is room for more than there is")
		}
	}
	v.stop()
	if !strings.Contains(v.log.String(), "export over the API was cut off") {
		t.Errorf("the server has ended before its export:\n%s", v.log.String())
	}
}
