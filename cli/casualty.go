package cli

import (
	"context"

	"github.com/posthorn/posthorn/supervisor"
)

// buryDead gives back what a dead worker held. Its process is reaped, so it can
// touch nothing any more; its successor is not started before this returns.
func (s *session) buryDead(ctx context.Context, e supervisor.Event) {
	id := e.Fields[fieldWorker]
	if id == "" || e.Exit.Clean() { // a worker that ends well has given everything back
		return
	}
	n, err := s.env.Store.ReleaseWorker(ctx, id)
	if err != nil {
		s.env.Log.Error("messages of a dead worker wait for their lease to end", "worker", id, "error", err)
		return
	}
	s.env.Log.Info("messages of a dead worker are released", "worker", id, "program", e.Program, "messages", n)
}
