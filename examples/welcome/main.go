// Command welcome is the program of the README: one handler, and the whole
// command line.
package main

import (
	"context"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
)

// Welcome asks for a new user to be welcomed.
type Welcome struct {
	UserID int64 `json:"user_id"`
}

// Kind is the name under which the message travels.
func (Welcome) Kind() string { return "welcome" }

func main() {
	mux := posthorn.NewMux()
	posthorn.HandleEffect(mux, func(ctx context.Context, m Welcome) (posthorn.Effect, error) {
		posthorn.Logger(ctx).Info("welcome", "user_id", m.UserID) // slow work goes here, outside the transaction
		return func(ctx context.Context, tx *posthorn.Tx) error { // this commits with the acknowledgement
			_, err := tx.ExecContext(ctx, "insert into welcomed (user_id) values (?)", m.UserID)
			return err
		}, nil
	})
	cli.Main(cli.App{Name: "shop", Mux: mux, Setup: func(ctx context.Context, env cli.Env) error {
		_, err := env.Store.DB().ExecContext(ctx, "create table if not exists welcomed (user_id integer)")
		return err
	}})
}
