package store_test

import (
	"testing"

	"github.com/posthorn/posthorn/store"
)

// BenchmarkHeader writes and reads the header of a traced message.
func BenchmarkHeader(b *testing.B) {
	h := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
	text, err := store.EncodeHeader(h)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = store.EncodeHeader(h)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = store.DecodeHeader(text)
		}
	})
}
