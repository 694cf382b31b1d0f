package config

import (
	"slices"
	"strings"

	"github.com/posthorn/posthorn/driver"
)

// A Kind says how the text of a setting is read.
type Kind string

// The kinds.
const (
	KindText     Kind = "text"
	KindDSN      Kind = "dsn"
	KindCount    Kind = "number"
	KindFactor   Kind = "decimal number"
	KindDuration Kind = "duration (250ms, 90s, 1h30m, 30d)"
	KindBytes    Kind = "size (512MiB, 512M, 1GB)"
	KindChoice   Kind = "choice"
	KindSecret   Kind = "secret text"
	KindNames    Kind = "list of names"
	KindWords    Kind = "list of words"
	KindSwitch   Kind = "true or false"
)

// A Field describes a setting. A star in its pattern stands for a name that
// the user chooses.
type Field struct {
	Pattern  string
	Kind     Kind
	Doc      string
	Default  string
	Choices  []string
	Min, Max float64 // of a number; Max 0 means no bound
}

// Variable is the environment variable that overrides the setting, or "" for
// one that is below a chosen name.
func (f Field) Variable() string {
	if strings.Contains(f.Pattern, "*") {
		return ""
	}
	return "POSTHORN_" + strings.ToUpper(strings.ReplaceAll(f.Pattern, ".", "_"))
}

// Covers reports whether the field is a key, or below it. A star in the pattern stands for
// any name.
func (f Field) Covers(key string) bool {
	pattern, words := strings.Split(f.Pattern, "."), strings.Split(key, ".")
	if len(words) > len(pattern) {
		return false
	}
	for i, word := range words {
		if pattern[i] != word && pattern[i] != "*" || word == "" {
			return false
		}
	}
	return true
}

// Reference lists every setting, in the order in which they are explained.
func Reference() []Field {
	fields := []Field{
		{Pattern: "store", Kind: KindDSN, Default: "sqlite:posthorn.db",
			Doc: "The SQL database that keeps the queues, the dead letters and the workers."},
		{Pattern: "session.*", Kind: KindText,
			Doc: "A setting of the store's server that every new connection gets, like statement_timeout: 30s."},
	}
	fields = append(fields, poolFields()...)
	fields = append(fields, []Field{
		{Pattern: "retention", Kind: KindDuration, Default: "30d",
			Doc: "How long a dead letter is kept before it is deleted for good."},
		{Pattern: "log.format", Kind: KindChoice, Default: "text", Choices: []string{"text", "json"},
			Doc: "How log lines are written to stderr."},
		{Pattern: "log.level", Kind: KindChoice, Default: "info", Choices: []string{"debug", "info", "warn", "error"},
			Doc: "The least severe log lines that are written."},
		{Pattern: "logs.dir", Kind: KindText, Default: "none",
			Doc: "The directory in which `up` keeps what each program writes, as PROGRAM.log and PROGRAM.err.log; else it is " +
				"passed on."},
		{Pattern: "logs.size", Kind: KindBytes, Default: "16MiB", Min: 4096,
			Doc: "At which size such a file is put aside."},
		{Pattern: "logs.age", Kind: KindDuration, Default: "none", Min: 1e9,
			Doc: "At which age such a file is put aside."},
		{Pattern: "logs.keep", Kind: KindCount, Default: "5", Min: 1, Max: 1000,
			Doc: "How many files that were put aside are kept."},
		{Pattern: "health.max_failed", Kind: KindCount, Default: "100",
			Doc: "How many dead letters are too many: above it the health check fails."},
		{Pattern: "metrics.listen", Kind: KindText,
			Doc: "The host:port at which consume and up show metrics to Prometheus; empty shows none."},
		{Pattern: "metrics.token", Kind: KindSecret,
			Doc: "The bearer token that Prometheus must show. Without one, only this host may ask."},
		{Pattern: "metrics.token_file", Kind: KindText,
			Doc: "A file that holds the token, instead of metrics.token."},
		{Pattern: "api.listen", Kind: KindText,
			Doc: "The host:port at which up and monitor answer the API about dead letters; empty: nowhere."},
		{Pattern: "api.token", Kind: KindSecret,
			Doc: "The bearer token that each request to the API must show."},
		{Pattern: "api.token_file", Kind: KindText,
			Doc: "A file that holds the token, instead of api.token."},
		{Pattern: "transports.*.dsn", Kind: KindDSN, Default: "store",
			Doc: "Where the transport's messages wait; store means a queue in the store."},
		{Pattern: "transports.*.queues", Kind: KindNames, Default: "the transport's name",
			Doc: "The queues of the transport. New messages go to the first; workers prefer the earlier ones."},
	}...)
	fields = append(fields, retryFields("transports.*.retry.", "")...)
	fields = append(fields, retryFields("transports.*.retry.classes.*.", " (for errors of this class)")...)
	fields = append(fields, Field{Pattern: "routing.*", Kind: KindText,
		Doc: "The transport for messages of this kind. Other kinds go to the first transport."})
	return slices.Concat(fields, programFields(), monitorFields(), alertFields())
}

func poolFields() []Field {
	fields := []Field{
		{Pattern: "effects", Kind: KindCount, Default: "4", Min: 1, Max: 1000,
			Doc: "The connections of a process to the store's server on which handlers' transactions run."},
		{Pattern: "control", Kind: KindCount, Default: "3", Min: 1, Max: 100,
			Doc: "The connections for Posthorn's own transactions, which no handler can take. Two more are for reading."},
		{Pattern: "app", Kind: KindCount, Default: "8", Min: 1, Max: 1000,
			Doc: "The connections that the application may open for work of its own."},
		{Pattern: "lifetime", Kind: KindDuration, Default: "30m", Min: 1e9,
			Doc: "After how long a connection is replaced; a fifth is left to chance."},
		{Pattern: "idle_check", Kind: KindDuration, Default: "10s", Min: 1e6,
			Doc: "After how long without use a connection is tried before it is used."},
		{Pattern: "connect_timeout", Kind: KindDuration, Default: "the address's, or 5s", Min: 1e6,
			Doc: "How long one host of the store's address may take to let a connection in."},
	}
	for i := range fields {
		fields[i].Pattern = "pool." + fields[i].Pattern
	}
	return fields
}

func retryFields(prefix, scope string) []Field {
	fields := []Field{
		{Pattern: "max_retries", Kind: KindCount, Default: "3", Max: 1e6,
			Doc: "How often a failed message is tried again; 0 means never."},
		{Pattern: "delay", Kind: KindDuration, Default: "1s", Min: 1e6,
			Doc: "The wait before the first retry."},
		{Pattern: "multiplier", Kind: KindFactor, Default: "2", Min: 1, Max: 1e6,
			Doc: "By how much the wait grows with each retry."},
		{Pattern: "max_delay", Kind: KindDuration, Default: "1h", Min: 1e6,
			Doc: "The longest wait before a retry."},
		{Pattern: "jitter", Kind: KindFactor, Default: "0.1", Max: 1,
			Doc: "The part of the wait that chance adds or takes, so that retries do not come all at once."},
	}
	for i := range fields {
		fields[i].Pattern = prefix + fields[i].Pattern
		if scope != "" {
			fields[i].Doc = strings.TrimSuffix(fields[i].Doc, ".") + scope + "."
			fields[i].Default = "as for the transport"
		}
	}
	return fields
}

func programFields() []Field {
	fields := []Field{
		{Pattern: "consume", Kind: KindNames, Default: "every transport",
			Doc: "The transports that the workers take messages from; an earlier one is served first."},
		{Pattern: "weights.*", Kind: KindCount, Default: "by the order of consume", Min: 1, Max: driver.MaxWeight,
			Doc: "The weight of each queue of this transport when messages are divided among full queues."},
		{Pattern: "command", Kind: KindWords, Default: "none",
			Doc: "A command to run instead of Posthorn's own worker, each argument an entry of the list; no shell reads it."},
		{Pattern: "env", Kind: KindNames, Default: "none",
			Doc: "The environment variables that the command gets, besides PATH, HOME, LANG, TZ and the like."},
		{Pattern: "processes", Kind: KindCount, Default: "1", Min: 1, Max: 256,
			Doc: "How many processes `up` runs for the program."},
		{Pattern: "ready_timeout", Kind: KindDuration, Default: "30s", Min: 1e6,
			Doc: "How long a worker may take to become ready before it is replaced."},
		{Pattern: "stop_timeout", Kind: KindDuration, Default: "drain_timeout and 5s", Min: 1e6,
			Doc: "How long a process that was told to stop may take before it is killed with all that it has started."},
		{Pattern: "concurrency", Kind: KindCount, Default: "8", Min: 1, Max: 10000,
			Doc: "How many messages one worker handles at the same time."},
		{Pattern: "drain_timeout", Kind: KindDuration, Default: "25s", Min: 1e6,
			Doc: "How long a worker that stops waits for its handlers before it gives their messages back."},
		{Pattern: "stuck_limit", Kind: KindDuration, Default: "30s", Min: 1e6,
			Doc: "How long a handler may run on after its deadline until its worker ends and is replaced."},
		{Pattern: "lease", Kind: KindDuration, Default: "30s", Min: 1e9,
			Doc: "How long a message stays with a worker that has died. Living workers renew it."},
		{Pattern: "limits.messages", Kind: KindCount, Default: "none", Min: 1,
			Doc: "After how many messages a worker ends and is replaced."},
		{Pattern: "limits.failures", Kind: KindCount, Default: "none", Min: 1,
			Doc: "After how many failed messages a worker ends and is replaced."},
		{Pattern: "limits.time", Kind: KindDuration, Default: "none", Min: 1e6,
			Doc: "After how long a worker ends and is replaced."},
		{Pattern: "limits.memory", Kind: KindBytes, Default: "none", Min: 1,
			Doc: "At which resident memory of its process a worker ends."},
	}
	for i := range fields {
		fields[i].Pattern = "programs.*." + fields[i].Pattern
	}
	return fields
}

// schema answers questions about the reference.
type schema struct{ fields []Field }

// field returns the leaf with this pattern.
func (s schema) field(pattern string) (Field, bool) {
	for _, f := range s.fields {
		if f.Pattern == pattern {
			return f, true
		}
	}
	return Field{}, false
}

// children lists the key names below a pattern, in order; "*" is any name.
func (s schema) children(pattern string) []string {
	prefix := pattern + "."
	if pattern == "" {
		prefix = ""
	}
	var names []string
	seen := map[string]bool{}
	for _, f := range s.fields {
		rest, ok := strings.CutPrefix(f.Pattern, prefix)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}
