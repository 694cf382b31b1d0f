package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/failure/api"
)

// A spec is the description as a test reads it.
type spec struct {
	root     map[string]any
	compiler *jsonschema.Compiler
}

func readSpec(t *testing.T) *spec {
	t.Helper()
	var doc any
	try(t, yaml.Unmarshal(api.Description(), &doc))
	text, err := json.Marshal(doc)
	try(t, err)
	doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	try(t, err)
	s := &spec{root: doc.(map[string]any), compiler: jsonschema.NewCompiler()}
	s.compiler.AssertFormat()
	try(t, s.compiler.AddResource("https://posthorn.test/api", doc))
	return s
}

// at is what a pointer leads to; references are followed, and the pointer of the last of them
// is returned.
func (s *spec) at(pointer ...string) (value any, where []string) {
	value = s.root
	for i, key := range pointer {
		m, ok := value.(map[string]any)
		if !ok || m[key] == nil {
			return nil, nil
		}
		value = m[key]
		if ref := refOf(value); ref != nil && i < len(pointer) {
			return s.at(append(ref, pointer[i+1:]...)...)
		}
	}
	return value, pointer
}

// refOf is where a value refers to that is nothing but a reference.
func refOf(value any) []string {
	m, ok := value.(map[string]any)
	if !ok || len(m) != 1 {
		return nil
	}
	ref, _ := m["$ref"].(string)
	if ref == "" {
		return nil
	}
	return strings.Split(strings.TrimPrefix(ref, "#/"), "/")
}

// operations are what the file describes: method and path.
func (s *spec) operations() (out [][2]string) {
	paths, _ := s.root["paths"].(map[string]any)
	for path, item := range paths {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				out = append(out, [2]string{strings.ToUpper(method), path})
			}
		}
	}
	return out
}

// params are the names of the parameters of an operation in the address's query.
func (s *spec) params(op [2]string) (out []string) {
	list, _ := s.at("paths", op[1], strings.ToLower(op[0]), "parameters")
	all, _ := list.([]any)
	for _, p := range all {
		m := p.(map[string]any)
		if ref := refOf(m); ref != nil {
			v, _ := s.at(ref...)
			m = v.(map[string]any)
		}
		if m["in"] == "query" {
			out = append(out, m["name"].(string))
		}
	}
	return out
}

// template finds the path of the file that a request's path is one of.
func (s *spec) template(path string) string {
	path, _, _ = strings.Cut(path, "?")
	got := strings.Split(path, "/")
	paths, _ := s.root["paths"].(map[string]any)
	best, exact := "", -1
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		want := strings.Split(p, "/")
		if len(want) != len(got) {
			continue
		}
		same := 0
		for i := range want {
			if want[i] == got[i] {
				same++
			} else if !strings.HasPrefix(want[i], "{") {
				same = -len(want)
			}
		}
		if same > exact {
			best, exact = p, same
		}
	}
	return best
}

// An exchange is a request and what came.
type exchange struct {
	method, path, sent string
	resp               *http.Response
	got                []byte
}

// check holds an exchange to the file: what was accepted is allowed to be sent, and what came
// is allowed to come.
func (s *spec) check(t *testing.T, x exchange) {
	t.Helper()
	kind, _, _ := mime.ParseMediaType(x.resp.Header.Get("Content-Type"))
	if x.resp.StatusCode >= http.StatusBadRequest {
		if kind != "application/problem+json" {
			t.Errorf("%s %s: a problem of type %q", x.method, x.path, kind)
		}
		s.valid(t, x.got, "components", "schemas", "Problem")
		return
	}
	op := []string{"paths", s.template(x.path), strings.ToLower(x.method)}
	responses := append(slices.Clone(op), "responses", strconv.Itoa(x.resp.StatusCode), "content", kind, "schema")
	if _, where := s.at(responses...); where == nil {
		t.Errorf("%s %s: the file has no answer %d of type %q", x.method, x.path, x.resp.StatusCode, kind)
		return
	} else if kind == "application/json" {
		s.valid(t, x.got, where...)
	}
	if x.sent == "" {
		return
	}
	kind, _, _ = mime.ParseMediaType(x.resp.Request.Header.Get("Content-Type"))
	_, where := s.at(append(op, "requestBody", "content", kind, "schema")...)
	if where == nil {
		t.Errorf("%s %s: the file does not say that a body of type %q may be sent", x.method, x.path, kind)
	} else if kind == "application/json" || strings.HasSuffix(kind, "+json") {
		s.valid(t, []byte(x.sent), where...)
	}
}

// valid holds a JSON text to a schema of the file.
func (s *spec) valid(t *testing.T, text []byte, pointer ...string) {
	t.Helper()
	escaped := make([]string, len(pointer))
	for i, key := range pointer {
		escaped[i] = url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	schema, err := s.compiler.Compile("https://posthorn.test/api#/" + strings.Join(escaped, "/"))
	try(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%v: %v\n%s", pointer, err, text)
	}
}

func TestTheFileAndTheHandlersHaveTheSameRoutes(t *testing.T) {
	t.Parallel()
	s := readSpec(t)
	var here, there []string
	for _, rt := range api.Routes() {
		params := strings.Fields(rt[2])
		slices.Sort(params)
		here = append(here, fmt.Sprint(rt[0], " ", rt[1], " ", params))
	}
	for _, op := range s.operations() {
		params := s.params(op)
		slices.Sort(params)
		there = append(there, fmt.Sprint(op[0], " ", op[1], " ", params))
	}
	here = append(here, "GET /v1/openapi.yaml []")
	slices.Sort(here)
	slices.Sort(there)
	if !slices.Equal(here, there) {
		t.Errorf("the handlers have\n%s\nand the file\n%s", strings.Join(here, "\n"), strings.Join(there, "\n"))
	}
}

func TestWhatTheFileDescribesIsServed(t *testing.T) {
	t.Parallel()
	v := serve(t, open(t, "SQLite"))
	got := v.do(ask{path: "GET /v1/openapi.yaml", header: []string{"Authorization", ""}, want: http.StatusOK})
	if !bytes.Equal(got.body, api.Description()) {
		t.Error("another description is served than the file")
	}
	for _, op := range v.spec.operations() {
		path := strings.NewReplacer("{id}", "x", "{fingerprint}", "x", "{queue}", "x").Replace(op[1])
		r, err := http.NewRequestWithContext(t.Context(), op[0], v.base+path, nil)
		try(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := v.client.Do(r)
		try(t, err)
		var p struct{ Code string }
		_ = json.NewDecoder(resp.Body).Decode(&p) // not each answer is a problem
		try(t, resp.Body.Close())
		if p.Code == "E-ROUTE" || p.Code == "E-METHOD" {
			t.Errorf("%s %s is not served: %s", op[0], op[1], p.Code)
		}
	}
}

func TestEverySchemaOfTheFileIsOne(t *testing.T) {
	t.Parallel()
	s := readSpec(t)
	schemas, _ := s.at("components", "schemas")
	for name := range schemas.(map[string]any) {
		if _, err := s.compiler.Compile("https://posthorn.test/api#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
