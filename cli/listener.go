package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/supervisord"
	"github.com/posthorn/posthorn/monitor"
)

// listenerName is the command that supervisord runs as an event listener.
const listenerName = "supervisor-listener"

// The bounds of what the listener does by itself.
const (
	sickTicks     = 3         // in a row, before the workers are replaced
	replaceBudget = 3         // replacements in budgetPeriod; after that it only reports
	budgetPeriod  = time.Hour // by the times of the ticks
	judgeTimeout  = 30 * time.Second
	callTimeout   = 10 * time.Second
)

// watcher is a listener's state.
type watcher struct {
	s        *session
	log      *slog.Logger
	group    string
	client   *supervisord.Client // nil: nothing can be done, only reported
	stopping time.Duration       // the longest that a worker may take to stop

	sick     int         // ticks in a row at which the workers did not work
	replaced []time.Time // when the workers were replaced
	told     string      // the verdict that was logged last
}

func (s *session) listenerCommand() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: listenerName, Short: "Watch a group of Supervisor's, as its event listener", Hidden: true,
		Long: `Speak the protocol of Supervisor's event listeners on stdin and stdout. At each tick it judges whether the
workers work: processes that Supervisor gave up (FATAL) are started again, and when no living worker serves a queue at
three ticks in a row, those that claim to run are replaced one after the other, at most three times an hour. All that
it sees and does is in the log. ` + "`generate supervisor`" + ` writes the section that runs it.`,
		Example: s.example(`
			generate supervisor
			supervisor-listener --group shop`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.listen(cmd.Context(), group) },
	}
	cmd.Flags().StringVar(&group, "group", s.app.Name, "the `group` of Supervisor's programs")
	return cmd
}

// listen handles supervisord's events until it closes stdin, or the process is
// told to stop.
func (s *session) listen(ctx context.Context, group string) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	w := &watcher{s: s, log: s.logger(cfg).With("group", group), group: group, stopping: time.Minute}
	for _, p := range cfg.Programs {
		w.stopping = max(w.stopping, p.DrainTimeout+time.Minute)
	}
	if w.client, err = supervisord.NewClient(s.lookup); err != nil {
		w.log.Warn("supervisord cannot be asked: what it gives up is only reported", "error", err)
	}
	return w.run(ctx)
}

// run ends the process when it is told to stop while it waits for an event: a
// read of stdin cannot be interrupted, and nothing is half done then.
func (w *watcher) run(ctx context.Context) error {
	var busy sync.Mutex
	busy.Lock()
	defer busy.Unlock()
	defer context.AfterFunc(ctx, func() {
		busy.Lock()
		defer busy.Unlock()
		if w.s.io.Exit != nil {
			w.s.io.Exit(exitDone)
		}
	})()
	l := supervisord.NewListener(w.s.io.Stdin, w.s.io.Stdout)
	for ctx.Err() == nil {
		busy.Unlock()
		e, err := l.Next()
		busy.Lock()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w.handle(ctx, e)
		if err := l.Done(); err != nil {
			return err
		}
	}
	return nil
}

// handle does what an event asks for. It cannot fail: what goes wrong is logged,
// and the next tick tries again.
func (w *watcher) handle(ctx context.Context, e supervisord.Event) {
	switch {
	case e.Name == supervisord.EventFatal && e.Fields["groupname"] == w.group:
		w.log.Error("supervisord gave a process up: it is started again at the next tick",
			"process", e.Fields["processname"], "after", e.Fields["from_state"])
	case e.IsTick():
		at := time.Now()
		if when, err := strconv.ParseInt(e.Fields["when"], 10, 64); err == nil {
			at = time.Unix(when, 0)
		}
		w.tick(ctx, at)
	}
}

// tick judges, and acts on the verdict.
func (w *watcher) tick(ctx context.Context, at time.Time) {
	w.revive(ctx)
	if !w.judge(ctx) {
		w.sick = 0
		return
	}
	w.sick++
	if w.sick < sickTicks || w.client == nil {
		return
	}
	w.sick = 0
	for len(w.replaced) > 0 && at.Sub(w.replaced[0]) >= budgetPeriod {
		w.replaced = w.replaced[1:]
	}
	if len(w.replaced) >= replaceBudget {
		w.log.Error("replacing the workers did not help: a person must look", "replacements", len(w.replaced),
			"period", budgetPeriod)
		return
	}
	w.replaced = append(w.replaced, at)
	w.replace(ctx)
}

// judge reports whether workers that should work do not. Whatever else is wrong
// is logged: new workers would not mend it.
func (w *watcher) judge(ctx context.Context) (sick bool) {
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	v, away, err := w.s.examine(ctx, healthFlags{maxFailed: -1, failOn: monitor.Critical.String()})
	if err != nil {
		w.report(monitor.Unknown, err.Error())
		return false
	}
	found, worst := w.s.findings(v, away, nil)
	text := ""
	for _, f := range found {
		if f.Level > monitor.OK {
			text += "; " + f.Check + ": " + f.Text
		}
		lazy := f.Check == monitor.RuleWorkers || f.Check == monitor.RuleProgress
		sick = sick || lazy && f.Level == monitor.Critical
	}
	w.report(worst, text)
	return sick
}

// report logs a verdict that is not the last one again.
func (w *watcher) report(level monitor.Level, text string) {
	told := level.String() + text
	if w.told == told || w.told == "" && level == monitor.OK {
		return
	}
	w.told = told
	text = strings.TrimPrefix(text, "; ")
	switch level {
	case monitor.OK:
		w.log.Info("healthy again")
	case monitor.Warning:
		w.log.Warn("health", "level", level.String(), "finding", text)
	default:
		w.log.Error("health", "level", level.String(), "finding", text)
	}
}

// processes lists those of the group that are in a state.
func (w *watcher) processes(ctx context.Context, state string) []supervisord.Process {
	if w.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := w.client.Processes(ctx)
	if err != nil {
		w.log.Error("supervisord does not answer", "error", err)
		return nil
	}
	var out []supervisord.Process
	for _, p := range all {
		if p.Group == w.group && p.State == state {
			out = append(out, p)
		}
	}
	return out
}

// revive starts what supervisord gave up.
func (w *watcher) revive(ctx context.Context) {
	for _, p := range w.processes(ctx, supervisord.StateFatal) {
		w.log.Warn("starting a process that supervisord gave up", "process", p.Name, "reason", p.Reason)
		w.start(ctx, p)
	}
}

// replace stops and starts the workers one after the other, each in its own good
// time.
func (w *watcher) replace(ctx context.Context) {
	for _, p := range w.processes(ctx, supervisord.StateRunning) {
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("replacing a worker that lives and does not work", "process", p.Name)
		stop, cancel := context.WithTimeout(ctx, w.stopping)
		err := w.client.Stop(stop, p)
		cancel()
		if err != nil {
			w.log.Error("a worker could not be stopped", "process", p.Name, "error", err)
		}
		w.start(context.WithoutCancel(ctx), p) // none stays stopped when the listener itself is told to stop
	}
}

func (w *watcher) start(ctx context.Context, p supervisord.Process) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := w.client.Start(ctx, p); err != nil {
		w.log.Error("a process could not be started", "process", p.Name, "error", err)
	}
}
