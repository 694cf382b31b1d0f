package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/worker"
)

// consumeFlags are the flags of consume; the short ones are Symfony's.
type consumeFlags struct {
	limit, failures, concurrency int
	memory, time, sleep, drain   string
	program                      string
	queues, exclude              []string
	all                          bool
	given                        func(flag string) bool
}

func (s *session) consumeCommand() *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use: "consume [TRANSPORT...]", Short: "Run one worker",
		Long: `Run one worker for some transports; an earlier one is served first. It ends with exit code 0 on a limit, on
stop-workers and on a signal. With --program it is a worker as the configuration describes it for that program; flags
that are given win. The first SIGTERM, SIGINT or SIGQUIT stops gracefully, the second cancels the handlers.`,
		Example: s.example(`
			consume async
			consume async --limit 1000 --time-limit 1h --memory-limit 512M
			consume --program mailers
			consume --all --exclude slow`),
		ValidArgsFunction: s.completeTransports,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.given = cmd.Flags().Changed
			if err := f.check(args); err != nil {
				return err
			}
			if f.sleep != "" && s.io.StderrTerminal {
				s.say("--sleep has no effect: Posthorn wakes up by itself when there is a message\n")
			}
			return s.runWorker(cmd.Context(), &stint{operates: true, plan: func(cfg *config.Config) (worker.Options, error) {
				o, err := s.planConsume(cfg, args, f)
				o.Limits.Memory = s.boundMemory(o.Limits.Memory)
				return o, err
			}})
		},
	}
	f.define(cmd)
	return cmd
}

func (f *consumeFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.VarP(whole[int]{&f.limit, 0}, "limit", "l", "end after `N` messages; 0: never, whatever the program has")
	fs.VarP(whole[int]{&f.failures, 0}, "failure-limit", "f", "end after `N` failed messages; 0: never")
	fs.StringVarP(&f.memory, "memory-limit", "m", "", "end at this `size` of the process, like 512M")
	fs.StringVarP(&f.time, "time-limit", "t", "", "end after this `time`: 3600 (seconds) or 1h")
	group(cmd, "Limits", "limit", "failure-limit", "memory-limit", "time-limit")
	fs.StringVar(&f.program, "program", "", "what the configuration says for this `program`")
	fs.StringSliceVar(&f.queues, "queues", nil, "only these `queues` of the transports")
	fs.BoolVar(&f.all, "all", false, "every transport")
	fs.StringSliceVar(&f.exclude, "exclude", nil, "not these `transports`")
	group(cmd, "What to consume", "program", "queues", "all", "exclude")
	f.concurrency = worker.DefaultConcurrency
	countFlag(fs, &f.concurrency, "concurrency", "messages handled at the same time")
	fs.StringVar(&f.drain, "drain-timeout", "25s", "how long handlers may finish when the worker stops")
	fs.StringVar(&f.sleep, "sleep", "", "accepted for Symfony's sake; Posthorn wakes up by itself")
	group(cmd, "How", "concurrency", "drain-timeout", "sleep")
}

// check refuses values before anything is opened.
func (f *consumeFlags) check(args []string) error {
	if f.program != "" && (len(args) > 0 || f.all || f.given("queues") || f.given("exclude")) {
		return usage("--program says already what to consume", "leave the transports and queues out")
	}
	if _, err := f.limits(); err != nil {
		return err
	}
	if _, err := flagSeconds("sleep", f.sleep); err != nil {
		return err
	}
	_, err := flagSeconds("drain-timeout", f.drain)
	return err
}

func (f *consumeFlags) limits() (worker.Limits, error) {
	l := worker.Limits{Messages: f.limit, Failures: f.failures}
	var err error
	if l.Time, err = flagSeconds("time-limit", f.time); err != nil {
		return l, err
	}
	if f.memory != "" {
		b, err := config.ParseBytes(f.memory)
		if err != nil {
			return l, usage("--memory-limit: "+err.Error(), "write it like 512M")
		}
		l.Memory = int64(b)
	}
	return l, nil
}

// flagSeconds reads a duration in which a bare number is in seconds.
func flagSeconds(name, value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	d, err := config.ParseSeconds(value)
	if err != nil {
		return 0, usage("--"+name+": "+err.Error(), "write it like 1h, or in seconds")
	}
	return d, nil
}

// planProgram makes the options of a worker of a program. Flags that were given win.
func (s *session) planProgram(cfg *config.Config, f consumeFlags) (o worker.Options, err error) {
	p, err := workerProgram(cfg, f.program)
	if err != nil {
		return o, err
	}
	o = s.programOptions(cfg, p)
	limits, err := f.limits()
	if err != nil {
		return o, err
	}
	if f.given("limit") || f.given("time-limit") { // who gives a number means it
		o.Limits.Jitter = 0
	}
	for flag, set := range map[string]func(){
		"limit":         func() { o.Limits.Messages = limits.Messages },
		"failure-limit": func() { o.Limits.Failures = limits.Failures },
		"time-limit":    func() { o.Limits.Time = limits.Time },
		"memory-limit":  func() { o.Limits.Memory = limits.Memory },
		"concurrency":   func() { o.Concurrency = f.concurrency },
		"drain-timeout": func() { o.DrainTimeout, err = f.drainTimeout() },
	} {
		if f.given(flag) {
			set()
		}
	}
	return o, err
}

// drainTimeout reads the flag; zero would mean the default.
func (f *consumeFlags) drainTimeout() (time.Duration, error) {
	d, err := flagSeconds("drain-timeout", f.drain)
	return max(d, time.Millisecond), err
}

// planConsume makes the options of consume's worker.
func (s *session) planConsume(cfg *config.Config, args []string, f consumeFlags) (o worker.Options, err error) {
	if f.program != "" {
		return s.planProgram(cfg, f)
	}
	names, err := chooseTransports(cfg, args, f)
	if err != nil {
		return o, err
	}
	queues, err := chooseQueues(cfg, names, f.queues)
	if err != nil {
		return o, err
	}
	o = s.baseOptions(cfg, "consume")
	o.Queues, o.Concurrency = queues, f.concurrency
	if o.Limits, err = f.limits(); err != nil {
		return o, err
	}
	o.DrainTimeout, err = f.drainTimeout()
	return o, err
}

// chooseTransports lists what the arguments name.
func chooseTransports(cfg *config.Config, args []string, f consumeFlags) ([]string, error) {
	known := cfg.TransportNames()
	for _, name := range slices.Concat(args, f.exclude) {
		if err := knownTransport(name, known); err != nil {
			return nil, err
		}
	}
	switch {
	case f.all && len(args) > 0:
		return nil, usage("--all and names of transports contradict each other", "give one of them")
	case f.all, len(args) == 0 && len(known) == 1:
		args = known
	case len(args) == 0:
		return nil, usage("there are several transports", "name some of "+strings.Join(known, ", ")+", or give --all")
	}
	var names []string
	for _, name := range args {
		if !slices.Contains(f.exclude, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, usage("--exclude leaves no transport", "exclude less")
	}
	return names, nil
}

func knownTransport(name string, known []string) error {
	if slices.Contains(known, name) {
		return nil
	}
	return &fault{
		Code: "E-TRANSPORT-UNKNOWN", Title: fmt.Sprintf("unknown transport `%s`", name), Exit: exitUsage,
		What: "the configuration does not define it",
		Try:  meant(name, known, "the transports are "+strings.Join(known, ", ")),
	}
}

// chooseQueues lists the queues of the transports, or those that were named.
func chooseQueues(cfg *config.Config, names, only []string) ([]string, error) {
	var all []string
	for _, name := range names {
		t, _ := cfg.Transport(name)
		all = append(all, t.Queues...)
	}
	if len(only) == 0 {
		return all, nil
	}
	for _, queue := range only {
		if !slices.Contains(all, queue) {
			return nil, usage("--queues: the transports have no queue "+queue,
				meant(queue, all, "their queues are "+strings.Join(all, ", ")))
		}
	}
	return only, nil
}

// completeTransports completes names of transports for the shell.
func (s *session) completeTransports(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	cfg, err := s.config()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cfg.TransportNames(), cobra.ShellCompDirectiveNoFileComp
}
