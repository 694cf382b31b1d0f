package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Line is one line of a ledger, as JSON: an intent, an order, or the outcome of some.
type Line struct {
	Intent  *Intent  `json:"i,omitempty"`
	Order   *Order   `json:"op,omitempty"`
	Outcome Outcome  `json:"o,omitempty"`
	IDs     []string `json:"ids,omitempty"` // of messages, or the keys of orders
}

// A Ledger is what processes wanted, and what they knew of it.
type Ledger struct {
	Intents []Intent // of producers
	Orders  []Order  // of operators
}

// ReadLedger reads the ledger of a process. An intent or an order without an outcome is of
// one that died: nobody knows. A last line without its end is of one that was killed while
// it wrote: nothing was sent for it.
func ReadLedger(r io.Reader) (l Ledger, err error) {
	intents, orders := map[string]int{}, map[string]int{}
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return Ledger{}, err
		}
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			return Ledger{}, fmt.Errorf("read line: %w", err)
		}
		if line.Intent != nil {
			intents[line.Intent.ID] = len(l.Intents)
			line.Intent.Outcome = Unknown
			l.Intents = append(l.Intents, *line.Intent)
		}
		if line.Order != nil {
			orders[line.Order.Key] = len(l.Orders)
			line.Order.Outcome = Unknown
			l.Orders = append(l.Orders, *line.Order)
		}
		for _, id := range line.IDs {
			i, intended := intents[id]
			j, ordered := orders[id]
			switch {
			case intended:
				l.Intents[i].Outcome = line.Outcome
			case ordered:
				l.Orders[j].Outcome = line.Outcome
			default:
				return Ledger{}, fmt.Errorf("read line: an outcome of %q, which nobody meant to send", id)
			}
		}
	}
}
