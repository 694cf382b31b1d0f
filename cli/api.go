package cli

import (
	"context"
	"sync"

	"github.com/posthorn/posthorn/failure/api"
	"github.com/posthorn/posthorn/internal/config"
)

// answerAPI answers the API of dead letters, if the configuration says where, until the
// function that it returns is called, which waits for its end. The store is open. Edits are
// validated by the handlers that are registered without Setup, which workers alone run.
func (s *session) answerAPI(ctx context.Context, cfg *config.Config) (end func(), err error) {
	if cfg.API.Listen == "" {
		return func() {}, nil
	}
	token, err := tokenOf(cfg, "api", cfg.API)
	if err != nil {
		return nil, err
	}
	server, err := api.Listen(api.Options{
		Listen: cfg.API.Listen, Token: token, Store: s.env.Store, Mux: s.app.Mux, Log: s.env.Log,
		Queues: declaredQueues(cfg),
	})
	if err != nil { // messages are worth more than those that are dead
		s.env.Log.Error("cannot answer the API: going on without", "error", err)
		return func() {}, nil
	}
	s.say("API at http://%s/v1\n", server.Address())
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Run(ctx); err != nil {
			s.env.Log.Warn("the API ends", "error", err)
		}
	})
	return func() {
		stop()
		wg.Wait()
	}, nil
}
