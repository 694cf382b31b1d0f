// Package generate writes the files by which other process managers run
// Posthorn: units of systemd, a section of Supervisor, lines of cron and a
// manifest of Kubernetes. What it writes depends on its arguments alone, holds no
// secret and works as it is.
package generate

import (
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/config"
)

// stopMargin is how much longer than the longest drain a worker gets before it
// is killed: it gives back what could not finish, and closes its store.
const stopMargin = 20 * time.Second

// spareMemory is what the processes need beside the workers that have limits.
const spareMemory = 256 << 20

// A Plan is what all kinds of files are made of.
type Plan struct {
	Name        string   // of the application, and the beginning of all names
	User        string   // who runs it; empty leaves it to the process manager
	Binary      string   // the absolute path of the program
	Directory   string   // the absolute working directory
	Config      string   // the absolute path of posthorn.yaml; empty: there is none
	Flags       []string // of every command, like --log-format json
	Environment string   // the absolute path of a file with secrets, NAME=value
	Database    string   // the absolute path of the SQLite file; empty: a server
	Programs    []config.Program
	PerProgram  bool     // the process manager runs each worker, not `up`
	Notifies    bool     // `up` tells systemd when it is ready, and that it lives
	Monitor     []string // the command that judges once
}

// A File is one file that was made.
type File struct {
	Name string // without a directory
	Text string
}

// A RefusalError says why there can be no file that works.
type RefusalError struct {
	Code, Title, What, Where, Try string
}

// Error gives the refusal in one line.
func (e *RefusalError) Error() string { return e.Title + ": " + e.What }

// check refuses what some file could not hold.
func (p Plan) check() error {
	if !config.IsName(p.Name) {
		return badName("the application", p.Name, "give another one by --name")
	}
	if p.User != "" && !config.IsName(p.User) {
		return badName("the user", p.User, "give a user's name by --user")
	}
	for _, prog := range p.Programs {
		if !config.IsName(prog.Name) {
			return badName("a program", prog.Name, "rename it below programs: in the configuration")
		}
		for _, transport := range prog.Consume {
			if !plain(transport) || strings.HasPrefix(transport, "-") {
				return badName("a transport", transport, "rename it below transports: in the configuration")
			}
		}
	}
	for _, value := range p.Flags {
		if !plain(value) {
			return &RefusalError{Code: "E-GENERATE-FLAG", Title: "a flag does not fit into the files", What: value,
				Try: "write the setting to the configuration file"}
		}
	}
	return p.checkPaths()
}

func (p Plan) checkPaths() error {
	for _, at := range []struct{ flag, path string }{
		{"--binary", p.Binary}, {"--working-directory", p.Directory}, {"--config", p.Config},
		{"--environment-file", p.Environment}, {"the store's file", p.Database},
	} {
		if at.path != "" && !plainPath(at.path) {
			return badPath(at.flag, at.path, "/usr/local/bin/"+p.Name)
		}
	}
	return nil
}

func badName(of, name, try string) error {
	return &RefusalError{
		Code: "E-GENERATE-NAME", Title: "a name does not fit into the files", Try: try,
		What: fmt.Sprintf("%s is called %q; all of them take %s", of, name, config.NameRule),
	}
}

// plain reports whether a text means itself between quotes of every kind.
func plain(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError || strings.ContainsRune("\"'\\$`", r) {
			return false
		}
	}
	return s != "" && !strings.Contains(s, "%(") && !strings.Contains(s, " ;") && !strings.Contains(s, " #")
}

func plainPath(s string) bool {
	return plain(s) && path.IsAbs(s) && path.Clean(s) == s && strings.TrimSpace(s) == s
}

// badPath refuses a path, and shows one that would do.
func badPath(flag, path, like string) *RefusalError {
	return &RefusalError{
		Code: "E-GENERATE-PATH", Title: "a path does not fit into the files", Where: flag,
		What: fmt.Sprintf("%q is not absolute, or has a quote, a backslash, a dollar or a control character", path),
		Try:  "use a plain absolute path, like " + like,
	}
}

// command is a command line of the program.
func (p Plan) command(args ...string) []string {
	line := []string{p.Binary}
	if p.Config != "" {
		line = append(line, "--config", p.Config)
	}
	return append(append(line, p.Flags...), args...)
}

// consume is the command line of one worker of a program. Where every end is
// taken for a failure, it ends for no number of messages.
func (p Plan) consume(prog config.Program, counts bool) []string {
	if len(prog.Command) > 0 {
		return prog.Command
	}
	args := []string{"consume", "--program", prog.Name}
	if !counts && prog.Limits.Messages > 0 {
		args = append(args, "--limit", "0")
	}
	if !counts && prog.Limits.Failures > 0 {
		args = append(args, "--failure-limit", "0")
	}
	return p.command(args...)
}

// stopSeconds is how long the programs may take to stop.
func stopSeconds(programs ...config.Program) int {
	var longest time.Duration
	for _, p := range programs {
		longest = max(longest, p.DrainTimeout, p.StopTimeout-stopMargin)
	}
	return int((longest+stopMargin+time.Second-1)/time.Second) + 1
}

// memory is what the processes of the programs may take together, a quarter
// above their limits; 0 if one has no limit.
func memory(programs ...config.Program) config.Bytes {
	total := config.Bytes(spareMemory)
	for _, p := range programs {
		if p.Limits.Memory == 0 {
			return 0
		}
		total += config.Bytes(p.Processes) * p.Limits.Memory / 4 * 5
	}
	return (total + 1<<20 - 1) >> 20 << 20
}

// headline is the first line of a file.
func (p Plan) headline(kind string) string {
	return fmt.Sprintf("Written by `%s generate %s`: change posthorn.yaml or the flags, and write it again.",
		path.Base(p.Binary), kind)
}
