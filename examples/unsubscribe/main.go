// Command unsubscribe is an application that unsubscribes people from mailing
// lists, in the background, from the mail that they got.
//
//	unsubscribe demo          the whole story in some seconds, in a temporary directory
//	unsubscribe import DIR    dispatch a message for each mail in a directory
//	unsubscribe up            handle them, until it is told to stop
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/demo"
)

func main() {
	client, err := demo.Client(os.Getenv(demo.EnvProvider), os.Getenv(demo.EnvAuthority))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(78)
	}
	mux := posthorn.NewMux()
	cli.Main(cli.App{
		Name: "unsubscribe", Mux: mux,
		Setup: func(ctx context.Context, env cli.Env) error {
			db, err := app.NewDatabase(env.Store.DB(), env.Store.Dialect())
			if err != nil {
				return err
			}
			app.Register(mux, client, db)
			return db.Install(ctx)
		},
		Commands: func(open func(context.Context) (cli.Env, error)) []*cobra.Command {
			return []*cobra.Command{importCommand(open), demo.Command()}
		},
	})
}

// importCommand imports real mail.
func importCommand(open func(context.Context) (cli.Env, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "import DIR",
		Short: "Dispatch a message for each *.eml file in a directory",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			env, err := open(cmd.Context())
			if err != nil {
				return err
			}
			db, err := app.NewDatabase(env.Store.DB(), env.Store.Dialect())
			if err != nil {
				return err
			}
			done, err := app.Import(cmd.Context(), db, env.Dispatcher, app.ImportOptions{
				Files:     os.DirFS(args[0]),
				Transient: func(err error) bool { return env.Store.Classify(err) == driver.ClassTransient },
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files: %d dispatched, %d refused, %d known before\n",
				done.Files, done.Dispatched, done.Refused, done.Known)
			return err
		},
	}
}
