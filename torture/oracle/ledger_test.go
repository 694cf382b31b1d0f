package oracle_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/torture/oracle"
)

func TestALedgerTellsWhatItsProducerKnew(t *testing.T) {
	ins, err := oracle.ReadLedger(strings.NewReader(`{"i":{"ID":"a","Kind":"k","Fate":"done","Digest":"d"}}
{"i":{"ID":"b"}}
{"i":{"ID":"c"}}
{"o":"ok","ids":["a"]}
{"o":"fail","ids":["b"]}
{"i":{"ID":"d","Ki`))
	want := []oracle.Intent{
		{ID: "a", Kind: "k", Fate: oracle.Done, Digest: "d", Outcome: oracle.OK},
		{ID: "b", Outcome: oracle.Failed}, {ID: "c", Outcome: oracle.Unknown},
	}
	if err != nil || !slices.Equal(ins, want) {
		t.Errorf("read %+v, %v, want %+v", ins, err, want)
	}
}

func TestALedgerThatIsBrokenIsNoLedger(t *testing.T) {
	for _, text := range []string{"no json\n", `{"o":"ok","ids":["nobody"]}` + "\n"} {
		if ins, err := oracle.ReadLedger(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, ins)
		}
	}
}
