package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// dispatchFlags are the flags of dispatch.
type dispatchFlags struct {
	transport, queue, delay, at, id, output string
	priority                                int
	header                                  []string
	force                                   bool
}

func (s *session) dispatchCommand() *cobra.Command {
	var f dispatchFlags
	cmd := &cobra.Command{
		Use: "dispatch KIND [JSON|@FILE|-]", Short: "Send one message, or many from stdin",
		Long: `Send a message and print its id. The body is JSON: the argument itself, or the content of @FILE. With -, or
without a body when stdin is not a terminal, every line of stdin is the body of a message (NDJSON; blank lines are
skipped). The lines are sent in batches, each wholly or not at all. When this program knows the kind, bodies are
validated before they are sent.`,
		Example: s.example(`
			dispatch welcome '{"to":"a@example.org"}'
			dispatch welcome @body.json --delay 10m --header tenant=acme
			dispatch welcome - < bodies.ndjson`),
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return s.dispatch(cmd, args, f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.transport, "transport", "", "send to the first queue of this `transport`")
	fs.StringVar(&f.queue, "queue", "", "send to this `queue`")
	fs.BoolVar(&f.force, "force", false, "send a kind that this program does not know, and a body that it would refuse")
	group(cmd, "Where to", "transport", "queue", "force")
	fs.StringVar(&f.delay, "delay", "", "due after this `time`: 10 (seconds), 10m")
	fs.StringVar(&f.at, "at", "", "due at this `time`: 2026-01-31T08:00:00Z or '2026-01-31 08:00' (local)")
	fs.IntVar(&f.priority, "priority", 0, "higher is handled first")
	group(cmd, "When", "delay", "at", "priority")
	fs.StringArrayVar(&f.header, "header", nil, "add a header field, `key=value`; may be repeated")
	fs.StringVar(&f.id, "id", "", "the message's id; refused while a live message has it")
	group(cmd, "What", "header", "id")
	outputFlag(cmd, &f.output)
	_ = cmd.RegisterFlagCompletionFunc("transport", s.completeTransports) // the flag exists
	return cmd
}

// A mailing is what a dispatch command sends: a kind with its options.
type mailing struct {
	s       *session
	kind    string
	opts    []posthorn.DispatchOption
	handler *posthorn.Handler // nil: bodies are not validated
	env     Env
}

func (s *session) dispatch(cmd *cobra.Command, args []string, f dispatchFlags) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	opts, err := f.options(cfg)
	if err != nil {
		return err
	}
	many := len(args) == 2 && args[1] == "-" || len(args) == 1 && !s.io.StdinTerminal
	var body []byte
	switch {
	case many && f.id != "":
		return usage("--id is for one message", "leave it out: each line gets an id of its own")
	case len(args) == 1 && !many:
		return usage("there is no body", "give it as the second argument, for example '{}'")
	case !many:
		if body, err = readBody(args[1]); err != nil {
			return err
		}
	}
	env, err := s.prepare(cmd.Context())
	if err != nil {
		return err
	}
	m := &mailing{s: s, kind: args[0], opts: opts, env: env}
	if m.handler, err = s.knownKind(args[0], f.force); err != nil {
		return err
	}
	if many {
		return m.lines(cmd.Context(), f.output)
	}
	envelope, err := m.seal(body)
	if err != nil {
		return err
	}
	err = env.Store.Send(cmd.Context(), envelope)
	if f.id != "" && errors.Is(err, driver.ErrDuplicate) {
		return idTaken(cmd.Context(), env.Store, f.id)
	}
	if err != nil {
		return err
	}
	return s.showSent(f.output, []driver.Envelope{envelope})
}

// idTaken says where the message is that has the id already.
func idTaken(ctx context.Context, st *store.Store, id string) error {
	r, err := failure.Where(ctx, st, id)
	if err != nil {
		return err
	}
	return &fault{
		Code: "E-MESSAGE-DUPLICATE", Title: "a live message has this id", What: id + ": " + r.Text, Exit: exitFailed,
		Try: "wait until it is done, or give another --id; nothing was sent",
	}
}

// sentMessage is a message that was accepted, as output shows it.
type sentMessage struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Queue string `json:"queue"`
}

// showSent prints the ids; a table of them would only be in the way.
func (s *session) showSent(as string, envs []driver.Envelope) error {
	if as == formTable || as == formWide {
		as = formName
	}
	rows := make([]sentMessage, len(envs))
	for i, e := range envs {
		rows[i] = sentMessage{e.ID, e.Kind, e.Queue}
	}
	return show(s, as, listing[sentMessage]{
		kind: "DispatchedList", rows: rows, name: func(m sentMessage) string { return m.ID },
	})
}

// options turns the flags into those of the dispatcher.
func (f dispatchFlags) options(cfg *config.Config) ([]posthorn.DispatchOption, error) {
	var opts []posthorn.DispatchOption
	switch {
	case f.transport != "" && f.queue != "":
		return nil, usage("--transport and --queue contradict each other", "give one of them")
	case f.delay != "" && f.at != "":
		return nil, usage("--delay and --at contradict each other", "give one of them")
	case f.queue != "":
		opts = append(opts, posthorn.WithQueue(f.queue))
	case f.transport != "":
		if err := knownTransport(f.transport, cfg.TransportNames()); err != nil {
			return nil, err
		}
		t, _ := cfg.Transport(f.transport)
		opts = append(opts, posthorn.WithQueue(t.Queues[0]))
	}
	delay, err := flagSeconds("delay", f.delay)
	if err != nil {
		return nil, err
	}
	at, err := parseTime("at", f.at)
	if err != nil {
		return nil, err
	}
	opts = append(opts, posthorn.WithDelay(delay), posthorn.WithTime(at), posthorn.WithPriority(f.priority))
	for _, h := range f.header {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return nil, usage(fmt.Sprintf("--header %q has no =", h), "write it like tenant=acme")
		}
		opts = append(opts, posthorn.WithHeader(key, value))
	}
	if f.id != "" {
		opts = append(opts, posthorn.WithID(f.id))
	}
	return opts, nil
}

// parseTime reads a moment; without a zone it is local.
func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage(fmt.Sprintf("--%s %q is not a time", flag, s),
		"write it like 2026-01-31T08:00:00Z or '2026-01-31 08:00'")
}

// readBody takes the argument, or the file that it names.
func readBody(arg string) ([]byte, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	if !isFile {
		return []byte(arg), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(file, driver.MaxBody+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body, nil
}

// knownKind returns the kind's handler. A program with handlers refuses a kind
// that none of them knows: it is a typing error more often than not.
func (s *session) knownKind(kind string, force bool) (*posthorn.Handler, error) {
	kinds := s.app.Mux.Kinds()
	h, ok := s.app.Mux.Handler(kind)
	switch {
	case force || len(kinds) == 0:
		return nil, nil //nolint:nilnil // documented on mailing: no handler means no validation
	case !ok:
		return nil, &fault{
			Code: "E-KIND-UNKNOWN", Title: fmt.Sprintf("unknown kind `%s`", kind), Exit: exitFailed,
			What: "this program has no handler for it",
			Try:  meant(kind, kinds, "the kinds are "+strings.Join(kinds, ", ")) + " --force sends it nevertheless",
		}
	}
	return h, nil
}

// seal checks a body and makes its envelope.
func (m *mailing) seal(body []byte) (driver.Envelope, error) {
	env, err := m.env.Dispatcher.Envelope(m.kind, body, m.opts...)
	if err != nil {
		return env, err
	}
	if err := checkJSON(body); err != nil {
		return env, err
	}
	if m.handler != nil {
		return env, m.handler.Check(body)
	}
	return env, nil
}

// checkJSON says where a body stops being JSON.
func checkJSON(body []byte) error {
	if json.Valid(body) {
		return nil
	}
	var v any
	err := json.Unmarshal(body, &v)
	what := "the body is empty"
	if err != nil && len(body) > 0 {
		what = err.Error()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			what = fmt.Sprintf("%s at byte %d", syntax, syntax.Offset)
		}
	}
	return &fault{
		Code: "E-JSON", Title: "the body is not JSON", What: what, Exit: exitFailed,
		Try: "quote it for the shell: '{\"key\":\"value\"}'",
	}
}
