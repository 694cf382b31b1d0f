package generate

import (
	"fmt"
	"path"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
)

// The versions of systemd.
const (
	SystemdDefault = 252 // what Debian 12 has
	SystemdLeast   = 240
	systemdSteps   = 254 // knows RestartSteps=
)

// stateRoot is where systemd makes a service's own directory.
const stateRoot = "/var/lib"

// unit is the data of a service's template.
type unit struct {
	Plan
	Headline    string
	Description string
	Start       []string
	Type        string
	Target      string // that it belongs to
	Watchdog    bool
	Steps       bool // the wait before a restart may grow
	Oneshot     bool // it ends by itself
	Fleet       bool // it has processes of its own
	StopSeconds int
	MemoryMax   int64  // bytes; 0 means none
	State       string // the directory below /var/lib that systemd makes
	Writable    string // another directory that must be writable
	HideHome    bool
	OwnTmp      bool
}

// Systemd makes the units for a version of systemd: one service that runs `up`,
// or a template for each program, with a target and a timer that judges.
func Systemd(p Plan, version int) ([]File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if version < SystemdLeast {
		return nil, &RefusalError{Code: "E-GENERATE-VERSION", Title: "this systemd is too old", Where: "--systemd-version",
			What: fmt.Sprintf("version %d does not know all of the settings; %d does", version, SystemdLeast),
			Try:  "run systemctl --version on the host that is meant"}
	}
	u := p.unit(version)
	if !p.PerProgram {
		return upUnit(u)
	}
	var out []File
	for _, prog := range p.Programs {
		f, err := programUnit(u, prog)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	more, err := targetUnits(u)
	return append(out, more...), err
}

// unit is what all services have in common.
func (p Plan) unit(version int) unit {
	u := unit{Plan: p, Headline: p.headline("systemd"), Steps: version >= systemdSteps, HideHome: true, OwnTmp: true}
	if p.Directory == path.Join(stateRoot, p.Name) {
		u.State = p.Name
	}
	if dir := path.Dir(p.Database); p.Database != "" && (u.State == "" || dir != p.Directory) {
		u.Writable = dir
	}
	for _, at := range []string{p.Binary, p.Directory, p.Config, p.Environment, p.Database} {
		u.HideHome = u.HideHome && !below(at, "/home", "/root", "/run/user")
		u.OwnTmp = u.OwnTmp && !below(at, "/tmp", "/var/tmp")
	}
	return u
}

func below(at string, dirs ...string) bool {
	for _, dir := range dirs {
		if at == dir || strings.HasPrefix(at, dir+"/") {
			return true
		}
	}
	return false
}

func upUnit(u unit) ([]File, error) {
	u.Description, u.Start, u.Type, u.Fleet = u.Name+": all workers", u.command("up"), "exec", true
	if u.Notifies {
		u.Type, u.Watchdog = "notify", true
	}
	u.StopSeconds, u.MemoryMax = stopSeconds(u.Programs...), int64(memory(u.Programs...))
	f, err := u.file(u.Name + ".service")
	return []File{f}, err
}

func programUnit(u unit, prog config.Program) (File, error) {
	u.Description, u.Start, u.Type = u.Name+": "+prog.Name+" worker %i", u.consume(prog, true), "exec"
	u.Target = u.Name + ".target"
	one := prog
	one.Processes = 1
	u.StopSeconds, u.MemoryMax = stopSeconds(prog), int64(memory(one))
	return u.file(fmt.Sprintf("%s-%s@.service", u.Name, prog.Name))
}

// targetUnits holds the programs together, and judges them by the clock.
func targetUnits(u unit) ([]File, error) {
	judge := u
	judge.Description, judge.Start, judge.Type = u.Name+": judge it once", u.command(u.Monitor...), "oneshot"
	judge.Oneshot, judge.StopSeconds = true, 60
	service, err := judge.file(u.Name + "-monitor.service")
	if err != nil {
		return nil, err
	}
	timer, err := render("timer.tmpl", u)
	if err != nil {
		return nil, err
	}
	target, err := render("target.tmpl", u)
	return []File{service, {u.Name + "-monitor.timer", timer}, {u.Name + ".target", target}}, err
}

func (u unit) file(name string) (File, error) {
	text, err := render("service.tmpl", u)
	return File{name, text}, err
}

// Instances are the instances of all programs' templates.
func (u unit) Instances() []string {
	var out []string
	for _, prog := range u.Programs {
		for i := range prog.Processes {
			out = append(out, fmt.Sprintf("%s-%s@%d.service", u.Name, prog.Name, i+1))
		}
	}
	return out
}
