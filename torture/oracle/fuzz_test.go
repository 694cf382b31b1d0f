package oracle_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/torture/oracle"
)

// A ledger that was cut off anywhere tells of no more than it did as a whole, and never of
// an outcome that it does not have.
func FuzzALedgerThatIsCutOffTellsNoMore(f *testing.F) {
	whole := `{"i":{"id":"a","fate":"done"}}` + "\n" + `{"o":"ok","ids":["a"]}` + "\n" + `{"i":{"id":"b"}}` + "\n"
	for _, s := range []string{whole, "", "\n", "{}", "{\n", `{"ids":["x"]}` + "\n", `{"i":null}` + "\n",
		`{"op":{"Key":"x"}}` + "\n" + `{"o":"ok","ids":["x"]}` + "\n"} {
		f.Add(s, len(s)/2)
	}
	f.Fuzz(func(t *testing.T, text string, cut int) {
		all, err := oracle.ReadLedger(strings.NewReader(text))
		if err != nil {
			return
		}
		part, err := oracle.ReadLedger(strings.NewReader(text[:min(max(cut, 0), len(text))]))
		if err != nil || len(part.Intents) > len(all.Intents) || len(part.Orders) > len(all.Orders) {
			t.Fatalf("%+v of %+v, %v", part, all, err)
		}
		for i, in := range part.Intents {
			if in.ID != all.Intents[i].ID {
				t.Fatalf("intent %d is %q, and was %q", i, in.ID, all.Intents[i].ID)
			}
		}
		for i, o := range part.Orders {
			if o.Key != all.Orders[i].Key {
				t.Fatalf("order %d is %q, and was %q", i, o.Key, all.Orders[i].Key)
			}
		}
	})
}
