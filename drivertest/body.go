package drivertest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/posthorn/posthorn/driver"
)

func bodyTests() []subtest {
	return []subtest{
		{"keeps every kind of bytes", bodyKept},
		{"keeps a body of the limit, and refuses one byte more", bodyLimit},
		{"keeps a header of the limit, and refuses more", headerLimit},
		{"refuses a header that is not text", headerInvalid},
	}
}

// bodies are the bodies to keep, by what is special about them.
func bodies() map[string][]byte {
	random := make([]byte, 512)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return map[string][]byte{
		"none": nil, "empty": {}, "nul": {0}, "nuls": []byte("a\x00b\x00\x00"), "every": every, "random": random,
		"non-utf8": []byte("\xff\xfe\xc0\xaf\xed\xa0\x80"), "quote": []byte(`'";\'\\ -- /* ` + "`"),
		"space": []byte("  trailing \r\n\t "), "bom": []byte("\xef\xbb\xbf{}"), "json": []byte(`{"a":"\u0000"}`),
		"number": []byte("1e5"), "wide": []byte("𝄞👩‍👩‍👧é"), "format": []byte("%s%d$1:name?"),
	}
}

func bodyKept(r *rig) {
	sent := bodies()
	for name, body := range sent {
		e := env(name)
		e.Body = body
		r.send(e)
	}
	for _, d := range r.receive(r.consume(), len(sent)) {
		if want, known := sent[d.ID]; !known || !bytes.Equal(d.Body, want) {
			r.Errorf("body %s is %q, want %q", d.ID, d.Body, want)
		}
	}
}

// maxBody is the transport's limit.
func (r *rig) maxBody() int {
	if r.caps.MaxBody == 0 {
		return driver.MaxBody
	}
	return r.caps.MaxBody
}

func bodyLimit(r *rig) {
	limit := r.maxBody()
	full, over := env("full"), env("over")
	full.Body, over.Body = bytes.Repeat([]byte("\xffx"), limit/2+1)[:limit], make([]byte, limit+1)
	r.send(full)
	r.refuse(driver.ErrTooLarge, over)
	r.refuse(driver.ErrTooLarge, env("before"), over, env("after"))
	c := r.consume()
	if d := r.wants(c, "full"); !bytes.Equal(d.Body, full.Body) {
		r.Errorf("a body of %d bytes came back with %d, or other ones", limit, len(d.Body))
	}
	r.nothing(c)
}

func headerLimit(r *rig) {
	e := env("full")
	e.Header = map[string]string{}
	for i := range 3 {
		e.Header[fmt.Sprint("field-", i)] = strings.Repeat("ü", driver.MaxHeaderValue/2)
	}
	r.send(e)
	d := r.one(r.consume())
	for k, v := range e.Header {
		if d.Header[k] != v {
			r.Errorf("header %s came back with %d bytes, want %d", k, len(d.Header[k]), len(v))
		}
	}
	e.ID, e.Header = "over", map[string]string{"field": strings.Repeat("x", driver.MaxHeaderValue+1)}
	r.refuse(driver.ErrTooLarge, e)
	e.Header = map[string]string{}
	for i := range driver.MaxHeaders + 1 {
		e.Header[fmt.Sprint("field-", i)] = "x"
	}
	r.refuse(driver.ErrTooLarge, e)
}

func headerInvalid(r *rig) {
	for name, h := range map[string]map[string]string{
		"value": {"a": "\xff"}, "no-name": {"": "a"}, "name": {"a b": "c"}, "name-nul": {"a\x00": "c"},
	} {
		e := env(name)
		e.Header = h
		r.refuse(driver.ErrInvalid, e)
	}
	r.nothing(r.consume())
}
