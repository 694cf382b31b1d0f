package oracle_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/torture/oracle"
)

func TestALedgerTellsWhatItsProducerKnew(t *testing.T) {
	l, err := oracle.ReadLedger(strings.NewReader(`{"i":{"ID":"a","Kind":"k","Fate":"done","Digest":"d"}}
{"i":{"ID":"b"}}
{"i":{"ID":"c"}}
{"o":"ok","ids":["a"]}
{"o":"fail","ids":["b"]}
{"op":{"Key":"x","Action":"retry"}}
{"op":{"Key":"y","Action":"edit"}}
{"o":"ok","ids":["y"]}
{"i":{"ID":"d","Ki`))
	want := []oracle.Intent{
		{ID: "a", Kind: "k", Fate: oracle.Done, Digest: "d", Outcome: oracle.OK},
		{ID: "b", Outcome: oracle.Failed}, {ID: "c", Outcome: oracle.Unknown},
	}
	if err != nil || !slices.Equal(l.Intents, want) {
		t.Errorf("read %+v, %v, want %+v", l, err, want)
	}
	orders := []oracle.Order{
		{Key: "x", Action: oracle.Retry, Outcome: oracle.Unknown}, {Key: "y", Action: oracle.Edit, Outcome: oracle.OK},
	}
	if !slices.Equal(l.Orders, orders) {
		t.Errorf("read %+v, want %+v", l.Orders, orders)
	}
}

func TestALedgerThatIsBrokenIsNoLedger(t *testing.T) {
	for _, text := range []string{"no json\n", `{"o":"ok","ids":["nobody"]}` + "\n"} {
		if l, err := oracle.ReadLedger(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, l)
		}
	}
}
