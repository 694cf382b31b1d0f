package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The names of the page and of its plots, in one directory.
const (
	pageName = "performance.md"
	plotName = "performance.svg"

	failingName = "performance-failing.svg" // only where that was measured
)

// writePage writes the page and its plot.
func (d document) writePage(dir string) error {
	var plot strings.Builder
	d.plot(&plot)
	files := map[string]string{pageName: d.page(), plotName: plot.String()}
	if len(d.curves()) > 0 {
		var curves strings.Builder
		d.plotFailing(&curves)
		files[failingName] = curves.String()
	}
	for name, text := range files {
		err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) //nolint:gosec // to be read by all
		if err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	return nil
}

// command is what measured.
func (d document) command() string {
	if d.Mode == modeFull {
		return "`make bench-full`"
	}
	return "`make bench`, in one round and with smaller backlogs than those of `make bench-full`"
}

// page is the whole page.
func (d document) page() string {
	var b strings.Builder
	b.WriteString("# Performance\n\n" +
		"<!-- Written by bench/: what is changed here by hand is lost. -->\n\n" +
		"All of this comes from one run of " + d.command() + ", the program in [`bench/`](../bench), which measures " +
		"Posthorn and its peers in turns. Machines differ, and so does one machine from hour to hour: **the ratios " +
		"tell more than the figures.** `make bench` does the same in about five minutes, with smaller backlogs and in " +
		"one round, and shows its tables without changing this page.\n\n")
	d.header(&b)
	b.WriteString("## How far it got\n\n" +
		"![What was measured, against the floor of each goal](" + plotName + ")\n\n" +
		"A floor is what Posthorn has to reach, a summit what it could reach. Nothing of its promises is switched off: " +
		"retries, leases, fencing and dead letters are on. A ratio is taken to the peer that is named, in the same " +
		"rounds. A floor that is not measured here: twice graphile-worker on PostgreSQL with a no-op handler, which is no " +
		"program in Go.\n\n")
	d.goals(&b)
	b.WriteString("## Figures\n\n" + explained)
	d.figures(&b)
	if len(d.curves()) > 0 {
		b.WriteString("![Rate against the share of messages that fail](" + failingName + ")\n\n")
	}
	b.WriteString("## Settings\n\n" + measuredHow)
	d.settings(&b)
	b.WriteString("\n## Once more\n\n" + commands)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// explained says how to read the tables.
const explained = "Where a system has no figure, it does not offer the work (the reason is under Settings), or would " +
	"need minutes for it.\n\n" +
	"- *Dispatch*: what is accepted is durable, but for Redis with its default settings.\n" +
	"- *Handle*: a worker drains a backlog. From its start until the last completion is committed; that each message " +
	"was handled once, and that each INSERT is there, is checked.\n" +
	"- *Worker processes*: with a handler of 5 ms and concurrency 16 a process can handle 3,200 messages a second at " +
	"most, so that the store is not the limit until many processes share it; the first and the last tenth of a run do " +
	"not count. With a no-op handler, the store and the cores of this machine are the limit.\n" +
	"- *With a backlog behind*: what a worker completes in a second while so many more messages wait; the median of " +
	"three workers after each other, since the server still writes and cleans up what it has just been sent. Before each, " +
	"the kernel writes to disk what it has in memory of that. The medians of three turns with all backlogs, as long as " +
	"these take less than 100 s.\n" +
	"- *While another session holds a snapshot*: its transaction is open from before the first message is sent, so that " +
	"the database cannot remove a row that was deleted since. On SQLite it is a reader that no checkpoint can pass. " +
	"Where not all of them go through in two minutes, the last tenth is of those that did. The medians of three pairs, " +
	"one with and one without, as long as these take less than 100 s.\n" +
	"- *CPU*: user and system time of the worker process, from its start to its end, without the sender and the server. " +
	"*Log*: what the position in the server's log (WAL, redo log) moved by while the backlog was sent, in batches of " +
	"1000, and handled.\n" +
	"- *Messages that fail*: they do so once, after their INSERT, in a group with others. That those others were charged " +
	"with no attempt and no second claim, and that each message has one effect, is checked.\n" +
	"- *All promises kept, against a build without …*: the rate of a worker process, divided by that of one whose " +
	"program was built without a safety feature (`internal/safety`), each run between two of the other kind. *Fencing* " +
	"compares the token of a claim when it is settled; *leases* are renewed, and looked for when they run out; " +
	"*history* notes failed attempts; the *guard* is asked about handlers' statements and inspects their sessions; the " +
	"*crashcount* counts deliveries. No other figure here comes from such a build.\n\n"

// measuredHow says what all the runs have in common.
const measuredHow = "Each run has an empty database of its own. Peers are tuned: their settings here measured best " +
	"on such a machine, or are what they advise.\n\n"

// commands are what a reader would type.
const commands = "```text\n" +
	"scripts/setup.sh postgresql mariadb redis-server   # once: the servers, of which none runs afterwards\n" +
	"make bench                                         # about 5 minutes: tables, one round\n" +
	"make bench-full                                    # about 25 minutes: this page\n" +
	"cd bench && go run . -help                         # single works, stores, systems; JSON lines\n" +
	"```\n"
