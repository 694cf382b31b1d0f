// Package fingerprint tells which failures are of one fault: those whose
// fingerprints are equal. It is pure, and below the store, which has to compute
// fingerprints of letters that were buried without one.
package fingerprint

import (
	"cmp"
	"crypto/sha256"
	stdhex "encoding/hex"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/driver"
)

// Algorithm is the version of what Of does. Fingerprints of different versions
// are never equal.
const Algorithm = "v1"

// A Failure is what is known of a message's last attempt. Zero fields are
// unknown.
type Failure struct {
	Kind  string
	Class driver.Class
	Chain []string // the types of the error, the outermost first; see Chain
	Text  string   // of the error
	Stack string   // of a panic
	// Own is what the error says by itself of the fault that it stands for. It
	// replaces Chain, Text and Stack.
	Own string
}

// FailureOf is what an error tells by itself of an attempt that ended with it: all but
// the stack of a panic.
func FailureOf(kind string, class driver.Class, err error) Failure {
	return Failure{Kind: kind, Class: class, Chain: Chain(err), Text: err.Error(), Own: Own(err)}
}

// size is the length of a fingerprint in bytes, before it is written in hex.
const size = 8

// Of is the failure's fingerprint: 16 hexadecimal digits. Failures of different
// kinds or classes never share one.
func Of(f Failure) string {
	h := sha256.New()
	put := func(parts ...string) {
		for _, p := range parts { // with its length, so that no two lists look alike
			h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
		}
	}
	put(Algorithm, f.Kind, string(f.Class))
	switch {
	case f.Own != "":
		put("own", f.Own)
	case f.Class == driver.ClassPanic:
		put("panic", Frame(f.Stack), Normal(f.Text))
	default:
		put("error", strings.Join(f.Chain, " "), Normal(f.Text))
	}
	return stdhex.EncodeToString(h.Sum(nil)[:size])
}

// Title is one line that stands for all failures of the fingerprint: the
// normal form of the text, or what the error calls its fault.
func Title(f Failure) string {
	return cmp.Or(f.Own, Normal(f.Text), f.Kind+" "+string(f.Class))
}

// Type is the most telling type of a chain: the innermost, which is what went
// wrong, not what was said of it on the way.
func Type(chain []string) string {
	if len(chain) == 0 {
		return ""
	}
	return chain[len(chain)-1]
}
