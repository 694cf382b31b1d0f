package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Line is one line of a ledger, as JSON: an intent, or the outcome of some.
type Line struct {
	Intent  *Intent  `json:"i,omitempty"`
	Outcome Outcome  `json:"o,omitempty"`
	IDs     []string `json:"ids,omitempty"`
}

// ReadLedger reads the ledger of a producer. An intent without an outcome is of one
// that died: nobody knows. A last line without its end is of one that was killed while
// it wrote: no message was sent for it.
func ReadLedger(r io.Reader) ([]Intent, error) {
	var ins []Intent
	at := map[string]int{}
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return ins, nil
		}
		if err != nil {
			return nil, err
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("read line: %w", err)
		}
		if l.Intent != nil {
			at[l.Intent.ID] = len(ins)
			l.Intent.Outcome = Unknown
			ins = append(ins, *l.Intent)
		}
		for _, id := range l.IDs {
			i, ok := at[id]
			if !ok {
				return nil, fmt.Errorf("read line: an outcome of %q, which nobody meant to send", id)
			}
			ins[i].Outcome = l.Outcome
		}
	}
}
