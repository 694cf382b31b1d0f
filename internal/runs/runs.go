// Package runs is the record of what was tried on Posthorn, and how it came out: which
// fault, how often, on which store, machine and version. Checks write it, and the page of
// guarantees shows nothing else.
package runs

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Run is one fault in one run of a check.
type Run struct {
	Check string            `json:"check"` // what ran: torture, failpoints, sweep, powercuts
	Fault string            `json:"fault"` // by its name in the list of faults
	Store string            `json:"store"` // sqlite, postgres, mysql
	Class driver.Durability `json:"class"` // of the store, as it was set
	// Weakened is the setting by which a control was made to lose: what it shows is that
	// the check finds a loss.
	Weakened string        `json:"weakened,omitempty"`
	Times    int           `json:"times"`    // the fault was injected
	Accepted int           `json:"accepted"` // messages that were looked for
	Lost     int           `json:"lost"`     // of these
	Doubled  int           `json:"doubled"`  // effects
	Broken   int           `json:"broken"`   // findings of any kind
	Worst    time.Duration `json:"worst,omitempty"`
	Host     Host          `json:"host"`
}

// Held reports whether nothing was found.
func (r Run) Held() bool { return r.Lost+r.Doubled+r.Broken == 0 }

// key is what a newer run replaces.
func (r Run) key() string {
	return strings.Join([]string{r.Fault, r.Store, string(r.Class), r.Weakened, r.Check}, "\x00")
}

// A Host is where and when a run was, and of what.
type Host struct {
	Time   time.Time `json:"time"`
	System string    `json:"system"` // operating system and architecture
	CPU    string    `json:"cpu,omitempty"`
	CPUs   int       `json:"cpus"`
	Go     string    `json:"go"`
	Server string    `json:"server"`           // the version of the store's database
	Commit string    `json:"commit,omitempty"` // of Posthorn
}

// Here is this host, now, with a database of a version.
func Here(server string) Host {
	return Host{
		Time: time.Now().UTC().Truncate(time.Second), System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpu(),
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Server: server, Commit: commit(),
	}
}

// cpu is the name of the processor, where the system tells it.
func cpu() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimLeft(line, "\t :")
}

// module is the path of Posthorn's own.
const module = "github.com/posthorn/posthorn"

// unknown is the commit of a build that says nothing of it.
const unknown = "unknown"

// commit is that of the Posthorn that runs, with a + where its tree had changes, or its
// version; as the build itself says it, for the tree that is about may be another. An
// application's own is not asked for: it is the version of Posthorn that counts. A test's
// binary says nothing of it, and go test runs it in its tree.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case !ok:
		return unknown
	case strings.HasSuffix(info.Path, ".test"):
		return commitOfTree()
	}
	return commitOf(info)
}

func commitOfTree() string {
	git := func(args ...string) string {
		out, err := exec.CommandContext(context.Background(), "git", args...).Output() //nolint:gosec // our own words
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	at := git("rev-parse", fmt.Sprintf("--short=%d", shortCommit), "HEAD")
	switch {
	case at == "":
		return unknown
	case git("status", "--porcelain") != "":
		at += "+"
	}
	return at
}

func commitOf(info *debug.BuildInfo) string {
	if info.Main.Path != module {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return versionOf(dep)
			}
		}
		return unknown
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if at := set["vcs.revision"]; at != "" {
		return at[:min(shortCommit, len(at))] + map[string]string{"true": "+"}[set["vcs.modified"]]
	}
	return versionOf(&info.Main)
}

// versionOf is the version of a module, if it has one: a directory has none.
func versionOf(m *debug.Module) string {
	if m.Replace != nil {
		m = m.Replace
	}
	if m.Version == "" || m.Version == "(devel)" {
		return unknown
	}
	return m.Version
}

// shortCommit is how much of a commit's name is kept.
const shortCommit = 9

// Merge puts newer runs in the place of older ones of the same kind, in a fixed order.
func Merge(old []Run, newer ...Run) []Run {
	byKey := map[string]Run{}
	for _, r := range append(slices.Clone(old), newer...) {
		if have, ok := byKey[r.key()]; !ok || !have.Host.Time.After(r.Host.Time) {
			byKey[r.key()] = r
		}
	}
	out := make([]Run, 0, len(byKey))
	for _, r := range byKey {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Run) int { return cmp.Compare(a.key(), b.key()) })
	return out
}

// Read reads a record. One that does not exist is empty.
func Read(path string) (rs []Run, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &rs)
	}
	if err != nil {
		return nil, fmt.Errorf("read record of runs: %w", err)
	}
	return rs, nil
}

// Add merges runs into a record. No other process may add to it meanwhile.
func Add(path string, newer ...Run) error {
	old, err := Read(path)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(Merge(old, newer...), "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // a page for everybody
	}
	if err != nil {
		return fmt.Errorf("write record of runs: %w", err)
	}
	return nil
}

// Version asks a database for its name and version. The dialect is its
// store.Store.Dialect.
func Version(ctx context.Context, db *sql.DB, dialect string) (version string, err error) {
	query, name := "select sqlite_version()", "SQLite "
	switch dialect {
	case "postgres":
		query, name = "select current_setting('server_version')", "PostgreSQL "
	case "mysql":
		query, name = "select version()", ""
	}
	if err := db.QueryRowContext(ctx, query).Scan(&version); err != nil {
		return "", fmt.Errorf("ask for version: %w", err)
	}
	return name + version, nil
}
