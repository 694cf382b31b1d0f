package alert_test

import (
	"io"
	"net/http"
	"os"
	"time"

	"github.com/posthorn/posthorn/alert"
)

func ExampleVerify() {
	http.HandleFunc("POST /posthorn", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = alert.Verify(os.Getenv("OPS_SECRET"), r.Header.Get(alert.SignatureHeader), body, 5*time.Minute)
		}
		if err != nil {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		// what is in body is from Posthorn
	})
}
