package generate

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
)

// KubernetesOptions are the choices that only a manifest has.
type KubernetesOptions struct {
	Image     string
	Namespace string // empty: the one that kubectl is set to
	Replicas  int    // pods that each run `up`; with PerProgram, processes say it
	Secret    string // the Secret whose keys become environment variables
	Storage   string // the size of SQLite's volume
	CronJob   bool   // one judges each minute
	ConfigMap string // the text of posthorn.yaml
}

// The forms of what is checked (Kubernetes' manual, "Object Names and IDs" and
// "Quantity"). A reference to an image is only kept from being something else.
var (
	labels     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$`)
	quantities = regexp.MustCompile(`^[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$`)
	images     = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._/:@-]*$`)
)

// The paths in a pod.
const (
	podConfig = "/etc/posthorn/posthorn.yaml"
	podState  = "/var/lib/posthorn"
)

// manifest is the data of the manifest's template.
type manifest struct {
	Plan
	KubernetesOptions
	Headline  string
	Store     string // the address in the pods of a store in a file
	Workloads []workload
}

// workload is one Deployment, or the one StatefulSet of a store in a file.
type workload struct {
	Name      string
	Component string
	Args      []string
	Replicas  int
	Grace     int          // seconds
	Memory    config.Bytes // the limit; 0 means none
	Stateful  bool
}

// Kubernetes makes one manifest: what runs the workers, their configuration, and
// a budget for disruptions.
func Kubernetes(p Plan, o KubernetesOptions) ([]File, error) {
	p.Environment, p.User = "", ""
	m := manifest{Plan: p, KubernetesOptions: o, Headline: p.headline("k8s")}
	if p.Database != "" {
		m.Store = "sqlite:" + path.Join(podState, path.Base(p.Database))
		m.Database = path.Join(podState, path.Base(p.Database))
	}
	m.Config, m.Directory = podConfig, podState
	if err := m.Plan.check(); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if err := m.arrange(); err != nil {
		return nil, err
	}
	text, err := render("kubernetes.tmpl", m)
	return []File{{p.Name + ".yaml", text}}, err
}

// check refuses what the cluster, or the store, could not do.
func (m manifest) check() error {
	for _, v := range []struct {
		flag, value, form string
		ok                bool
	}{
		{"--name", m.Name, "small letters, digits and '-', at most 53", labels.MatchString(m.Name)},
		{"--namespace", m.Namespace, "small letters, digits and '-'", m.Namespace == "" || labels.MatchString(m.Namespace)},
		{"--secret", m.Secret, "small letters, digits and '-'", labels.MatchString(m.Secret)},
		{"--image", m.Image, "a reference like registry.example.org/shop:1.2", images.MatchString(m.Image)},
		{"--storage", m.Storage, "a size like 5Gi", quantities.MatchString(m.Storage)},
		{"--replicas", strconv.Itoa(m.Replicas), "1 or more", m.Replicas > 0},
	} {
		if !v.ok {
			return &RefusalError{Code: "E-GENERATE-NAME", Title: "a value does not fit into the manifest", Where: v.flag,
				What: fmt.Sprintf("%q is not of the form: %s", v.value, v.form), Try: "give another one"}
		}
	}
	if m.Database != "" && (m.Replicas > 1 || m.PerProgram || m.CronJob) {
		return &RefusalError{
			Code: "E-GENERATE-SQLITE", Title: "SQLite cannot be shared by pods", Where: "store",
			What: "the store is a file, and a volume that several hosts write would break it",
			Try:  "one replica without --per-program and --cron-job, or a store in PostgreSQL, MySQL or MariaDB",
		}
	}
	return nil
}

// arrange decides what runs.
func (m *manifest) arrange() error {
	if !m.PerProgram {
		m.Workloads = []workload{{
			Name: m.Name, Component: "workers", Args: m.command("up")[1:], Replicas: m.Replicas,
			Grace: stopSeconds(m.Programs...), Memory: memory(m.Programs...), Stateful: m.Database != "",
		}}
		return nil
	}
	seen := map[string]string{}
	for _, prog := range m.Programs {
		if len(prog.Command) > 0 {
			return &RefusalError{
				Code: "E-GENERATE-COMMAND", Title: "a program is another command", Where: "programs." + prog.Name + ".command",
				What: "a pod of its own for " + prog.Command[0] + " needs an image of its own, which nobody has named",
				Try:  "leave --per-program out: `up` runs it beside the workers, if the image has it",
			}
		}
		component := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(prog.Name))
		name := m.Name + "-" + component
		if other, taken := seen[name]; taken || !labels.MatchString(component) || len(name) > 53 {
			return &RefusalError{
				Code: "E-GENERATE-NAME", Title: "a name does not fit into the manifest", Where: "programs." + prog.Name,
				What: fmt.Sprintf("%q would be its name, which is %s", name, objection(other)),
				Try:  "rename the program: small letters, digits and '-'",
			}
		}
		seen[name] = prog.Name
		one := prog
		one.Processes = 1
		m.Workloads = append(m.Workloads, workload{
			Name: name, Component: component, Args: m.consume(prog, false)[1:], Replicas: prog.Processes,
			Grace: stopSeconds(prog), Memory: memory(one),
		})
	}
	return nil
}

// objection says what is wrong with a name.
func objection(other string) string {
	if other != "" {
		return "that of program " + other + ", too"
	}
	return "none that Kubernetes takes"
}

// Probe is the command of a probe.
func (m manifest) Probe(args ...string) []string { return m.command(args...) }

// Judge is the command of the CronJob.
func (m manifest) Judge() []string { return m.command(m.Monitor...) }

// Request is the memory that a pod asks for: a quarter of what it may take.
func (w workload) Request() config.Bytes {
	if w.Memory == 0 {
		return spareMemory
	}
	return max(w.Memory/4>>20<<20, 64<<20)
}

// Quantity writes an amount as Kubernetes reads it.
func (w workload) Quantity(b config.Bytes) string { return strconv.FormatInt(int64(b>>20), 10) + "Mi" }
