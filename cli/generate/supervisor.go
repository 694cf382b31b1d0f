package generate

import (
	"path"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
)

// SupervisorOptions are the choices that only Supervisor's file has.
type SupervisorOptions struct {
	Logs       string // the absolute directory of log files
	Listener   string // the command that listens to supervisord's events
	Standalone bool   // the file is a whole configuration, for a supervisord of its own
}

// section is the data of Supervisor's template.
type section struct {
	Plan
	SupervisorOptions
	Headline string
}

// Supervisor makes a file for the [include] of a supervisord's configuration:
// a program for each program, a group of them, and a listener that watches it.
func Supervisor(p Plan, o SupervisorOptions) ([]File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if !plainPath(o.Logs) {
		return nil, badPath("--log-directory", o.Logs, "/var/log/"+p.Name)
	}
	s := section{p, o, p.headline("supervisor")}
	words := []string{p.Directory, o.Logs}
	for _, prog := range p.Programs {
		words = append(words, s.Worker(prog)...)
	}
	for _, word := range words {
		if strings.Contains(word, "%") { // some values are expanded twice, others once
			return nil, &RefusalError{Code: "E-GENERATE-PATH", Title: "a percent sign does not fit into Supervisor's file",
				What: word, Try: "use paths and names without one"}
		}
	}
	text, err := render("supervisor.tmpl", s)
	return []File{{p.Name + ".conf", text}}, err
}

// Worker is the command line of a program's worker.
func (s section) Worker(prog config.Program) []string { return s.withSecrets(s.consume(prog, true)) }

// Watcher is the command line of the listener.
func (s section) Watcher() []string { return s.withSecrets(s.command(s.Listener, "--group", s.Name)) }

// withSecrets reads the file of secrets before it becomes the command:
// Supervisor itself cannot read one.
func (s section) withSecrets(line []string) []string {
	if s.Environment == "" {
		return line
	}
	return append([]string{"/bin/sh", "-c", s.loadEnvironment() + ` exec "$0" "$@"`}, line...)
}

// loadEnvironment is a line of shell that exports what the file of secrets says.
// A file that exists and cannot be read is an error.
func (p Plan) loadEnvironment() string {
	file := `"` + p.Environment + `"`
	return "set -a; [ ! -e " + file + " ] || . " + file + "; set +a;"
}

// StopSeconds is how long a program's worker may take to stop.
func (s section) StopSeconds(prog config.Program) int { return stopSeconds(prog) }

// Log is the path of a log file.
func (s section) Log(name string) string { return path.Join(s.Logs, s.Name+"-"+name+".log") }

// ProgramNames are the members of the group.
func (s section) ProgramNames() []string {
	out := make([]string, len(s.Programs))
	for i, prog := range s.Programs {
		out[i] = s.Name + "-" + prog.Name
	}
	return out
}
