package generate

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// CronOptions are the choices that only cron's file has.
type CronOptions struct {
	Logs   string // the absolute directory of the log file
	System bool   // a file for /etc/cron.d, where a line names its user
	MailTo string // who is told when the judgement is bad; empty: cron's default
}

// patience bounds one judgement, in seconds.
const patience = 300

// crontab is the data of cron's template.
type crontab struct {
	Plan
	CronOptions
	Headline string
}

// Cron makes a crontab that judges each minute.
func Cron(p Plan, o CronOptions) ([]File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if !plainPath(o.Logs) {
		return nil, badPath("--log-directory", o.Logs, "/var/log/"+p.Name)
	}
	if o.MailTo != "" && (!plain(o.MailTo) || strings.ContainsAny(o.MailTo, " ")) {
		return nil, &RefusalError{Code: "E-GENERATE-NAME", Title: "no usable address", Where: "--mail-to",
			What: fmt.Sprintf("%q has characters that a crontab cannot hold", o.MailTo), Try: "give one address"}
	}
	text, err := render("cron.tmpl", crontab{p, o, p.headline("cron")})
	name := p.Name + ".crontab"
	if o.System {
		name = strings.ReplaceAll(p.Name, ".", "-") // cron.d ignores names with a dot
	}
	return []File{{name, text}}, err
}

// Line is what the shell runs. It says nothing while all is well, and cron
// mails what it says.
func (c crontab) Line() string {
	log := path.Join(c.Logs, c.Name+"-monitor.log")
	lock := path.Join(c.Directory, c.Name+"-monitor.lock")
	var b strings.Builder
	if c.Environment != "" {
		b.WriteString(c.loadEnvironment() + " ")
	}
	judge := []string{"timeout", "-k", "10", strconv.Itoa(patience), "flock", "-n", lock}
	fmt.Fprintf(&b, "cd %s && %s >>%s 2>&1 || echo %s exit $?, see %s", shellWords([]string{c.Directory}),
		shellWords(append(judge, c.command(c.Monitor...)...)), shellWords([]string{log}),
		shellWords([]string{c.Name + " is not healthy, or was not judged:"}), shellWords([]string{log}))
	return cronText(b.String())
}
