package store_test

import (
	"database/sql"
	"encoding/json"
	"maps"
	"testing"

	"github.com/posthorn/posthorn/store"
)

// FuzzHeader compares with encoding/json, which wrote the headers of earlier versions:
// what is written is the same text, and what is read is the same header or the same refusal.
func FuzzHeader(f *testing.F) {
	for _, text := range []string{
		`{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}`, `{"a":"b","c":""}`, `{}`, `{"a":"b",}`,
		`{"a":"\u003c"}`, `{"a":"b"}x`, `{"a":"<"}`, `{"a":"ä"}`, `{"a":"b","a":"c"}`, ` {"a" : "b"}`, `{"a":1}`,
		`null`, `{"":""}`,
		`{"a":"b"`, `{"a""b"}`, `{"a\"":"b"}`, `{"a":"b";"c":"d"}`, "{\"a\":\"\x7f\"}", "{\"a\":\"\x00\"}",
	} {
		f.Add(text, "name", "value")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		var want map[string]string
		wantErr := json.Unmarshal([]byte(text), &want)
		got, err := store.DecodeHeader(sql.NullString{String: text, Valid: true})
		if (err == nil) != (wantErr == nil) || err == nil && !maps.Equal(got, want) {
			t.Errorf("%q: read %v, %v; want %v, %v", text, got, err, want, wantErr)
		}
		h := map[string]string{name: value, "other": "plain"}
		written, err := store.EncodeHeader(h)
		asJSON, _ := json.Marshal(h)
		if err != nil || !written.Valid || written.String != string(asJSON) {
			t.Errorf("%q: wrote %q, %v; want %q", h, written.String, err, asJSON)
		}
	})
}

func TestNoHeaderIsNull(t *testing.T) {
	written, err := store.EncodeHeader(nil)
	if err != nil || written.Valid {
		t.Errorf("wrote %+v, %v", written, err)
	}
	if h, err := store.DecodeHeader(written); err != nil || h != nil {
		t.Errorf("read %v, %v", h, err)
	}
}
