package torture

import (
	"context"
	"errors"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/torture/oracle"
)

// Operations are what became of the operations of a run, and of the letters that they
// meant. A letter that several of them meant is counted for each.
type Operations struct {
	Made      int `json:"made"`
	Cancelled int `json:"cancelled"`
	Stopped   int `json:"stopped"` // times that one stopped itself
	Letters   int `json:"letters"`
	Retried   int `json:"retried"` // put back
	Done      int `json:"done"`    // of these
	Again     int `json:"failed_again"`
	Edited    int `json:"edited"`
	Discarded int `json:"discarded"`
	Restored  int `json:"restored"`
	Gone      int `json:"gone"`    // no such dead letter any more when its turn came
	Refused   int `json:"refused"` // could not be changed: the patch did not fit
	Left      int `json:"left"`    // had no turn when their operation was cancelled
	Killed    int `json:"killed"`  // executors, by faults
	Turns     int `json:"turns"`   // times that an executor took an operation over, the first included
}

// operations reads the evidence of operations: what each says of itself, and its letters.
func (s *stage) operations(ctx context.Context, e *oracle.Evidence) (err error) {
	ops, err := allOperations(ctx, s.control)
	if err != nil {
		return err
	}
	targets, err := s.targets(ctx)
	if err != nil {
		return err
	}
	for _, o := range ops {
		e.Operations = append(e.Operations, oracle.Operation{
			ID: o.ID, Key: o.Reason, Action: string(o.Action), State: string(o.State), Over: o.Ends(),
			Total: o.Total, Done: o.Done, Failed: o.Failed, Flying: o.Flying, Gone: o.Gone, Refused: o.Refused,
			Left: o.Left(), Targets: targets[o.ID],
		})
	}
	return nil
}

// targets reads the letters of all operations.
func (s *stage) targets(ctx context.Context) (out map[string][]oracle.Target, err error) {
	rows, err := s.control.DB().QueryContext(ctx, "select o.id, t.letter, t.message_id, t.state from "+
		s.control.Names.Table("target")+" t join "+s.control.Names.Table("operation")+" o on o.seq = t.operation")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string][]oracle.Target{}
	for rows.Next() {
		var id string
		var t oracle.Target
		if err := rows.Scan(&id, &t.Letter, &t.Message, &t.State); err != nil {
			return nil, err
		}
		out[id] = append(out[id], t)
	}
	return out, rows.Err()
}

// lines counts, of each message, the lines of its history that are of a class.
func (s *stage) lines(ctx context.Context) (out map[[2]string]int, err error) {
	rows, err := s.control.DB().QueryContext(ctx,
		"select message_id, class, count(*) from "+s.control.Names.Table("attempt")+" group by message_id, class")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[[2]string]int{}
	for rows.Next() {
		var id, class string
		var n int
		if err := rows.Scan(&id, &class, &n); err != nil {
			return nil, err
		}
		out[[2]string{id, class}] = n
	}
	return out, rows.Err()
}

// countOperations fills the section of the report.
func (s *stage) countOperations(ctx context.Context, e oracle.Evidence) (n Operations, err error) {
	n.Made, n.Killed = len(e.Operations), s.crew.counts.Executors
	for _, o := range e.Operations {
		n.add(o)
	}
	err = s.control.DB().QueryRowContext(ctx, "select coalesce(sum(fence), 0) from "+
		s.control.Names.Table("operation")).Scan(&n.Turns)
	if err != nil {
		return n, err
	}
	for f := (store.ActFilter{Verb: store.VerbHalt}); ; {
		acts, err := s.control.Acts(ctx, f)
		if err != nil || len(acts) == 0 {
			return n, err
		}
		for _, a := range acts {
			f.Past = a.Seq
			n.Stopped++
		}
	}
}

// add counts an operation.
func (n *Operations) add(o oracle.Operation) {
	if o.State == string(store.OperationCancelled) {
		n.Cancelled++
	}
	n.Letters += o.Total
	n.Gone += o.Gone
	n.Refused += o.Refused
	n.Left += o.Left
	switch o.Action {
	case oracle.Retry:
		n.Retried += o.Done + o.Failed + o.Flying
		n.Done += o.Done
		n.Again += o.Failed
	case oracle.Edit:
		n.Edited += o.Done
	case oracle.Remove:
		n.Discarded += o.Done
	case oracle.Restore:
		n.Restored += o.Done
	}
}
