// Package cli is Posthorn's command line. The stock binary has it, and so has
// any application that calls Main: its own handlers are compiled in, and every
// command works from it.
//
// The package is the one place where configuration, store, workers and the
// application meet; nothing below it reads the environment.
package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/store"
)

// An App is an application with its handlers.
type App struct {
	Name    string // of the program; empty means the name it was started by
	Version string
	Mux     *posthorn.Mux // nil means no handlers

	// Middleware runs around each send of Env.Dispatcher, such as the Send of package
	// tracing. That around handlers belongs to the Mux.
	Middleware []posthorn.SendMiddleware

	// Setup runs once when the store is open, before any worker, and before
	// messages are dispatched from the command line: it makes tables and
	// registers handlers that need the store or the dispatcher.
	Setup func(ctx context.Context, env Env) error

	// Commands adds the application's own commands. Those that need the store
	// call open, which runs Setup too; the store is closed after the command.
	Commands func(open func(ctx context.Context) (Env, error)) []*cobra.Command
}

// An Env is what an application gets to work with.
type Env struct {
	Store      *store.Store
	Dispatcher *posthorn.Dispatcher // with the configuration's routing
	Log        *slog.Logger
}

// An IO is everything through which a run touches the world.
type IO struct {
	Program string   // the name under which it was started
	Args    []string // without the program's name
	Self    []string // the command that runs this program again; up needs it
	Environ []string // NAME=value

	Stdin          io.Reader
	Stdout, Stderr io.Writer

	StdinTerminal, StdoutTerminal, StderrTerminal bool
	Width                                         int // of the terminal in columns; 0 means unknown

	Signals <-chan os.Signal // may be nil
	Exit    func(code int)   // ends the process at once; nil means never
}

// Main runs the command line of the process and exits.
func Main(app App) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		width = 0
	}
	os.Exit(Run(context.Background(), app, IO{
		Program: filepath.Base(os.Args[0]), Args: os.Args[1:], Self: self(), Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdinTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Width:          width, Signals: signals, Exit: os.Exit,
	}))
}

// self finds the command that started this process. It is not resolved further:
// when it is a link that a deployment has set anew, the next worker is of the new
// version.
func self() []string {
	if path, err := exec.LookPath(os.Args[0]); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			return []string{path}
		}
	}
	if path, err := os.Executable(); err == nil {
		return []string{path}
	}
	return nil
}
