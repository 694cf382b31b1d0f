package schema_test

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/posthorn/posthorn/cli"
)

const config = `# Ampersands & "quotes", tabs	and umlauts: äöü
store: ${POSTHORN_STORE:-sqlite:shop.db}

transports:
  fast: {}
programs:
  mailers:
    consume: [fast]
    processes: 3
    drain_timeout: 40s
    limits: {messages: 1000, time: 1h, memory: 512MiB}
  Slow_ones:
    limits: {memory: 100MiB}
`

// manifest is what one command line generates.
type manifest struct {
	t         *testing.T
	configs   []core.ConfigMap
	services  []core.Service
	workloads []workload
	budgets   []policy.PodDisruptionBudget
	cronJobs  []batch.CronJob
}

// workload is what a Deployment and a StatefulSet have in common.
type workload struct {
	meta     meta.ObjectMeta
	replicas int32
	selector *meta.LabelSelector
	template core.PodTemplateSpec
	claims   []core.PersistentVolumeClaim
}

// generate writes a manifest and reads it with Kubernetes' own types.
func generate(t *testing.T, text string, args ...string) *manifest {
	t.Helper()
	file := filepath.Join(t.TempDir(), "posthorn.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := cli.Run(context.Background(), cli.App{Name: "shop"}, cli.IO{
		Args:   append([]string{"generate", "k8s", "--config", file, "--image", "registry.example.org/shop:1.2"}, args...),
		Stdout: &out, Stderr: &errs, Stdin: strings.NewReader(""),
	})
	if code != 0 {
		t.Fatalf("generate k8s %v: code %d\n%s", args, code, errs.String())
	}
	m := &manifest{t: t}
	for _, document := range strings.Split(out.String(), "\n---\n") {
		m.add(document + "\n")
	}
	return m
}

// add reads a document. A field that its kind does not have is an error.
func (m *manifest) add(document string) {
	m.t.Helper()
	var kind meta.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		m.t.Fatalf("%v\n%s", err, document)
	}
	read := func(into any) {
		m.t.Helper()
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			m.t.Fatalf("%s: %v\n%s", kind.Kind, err, document)
		}
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 ConfigMap":
		var v core.ConfigMap
		read(&v)
		m.configs = append(m.configs, v)
		m.check(v.ObjectMeta)
	case "v1 Service":
		var v core.Service
		read(&v)
		m.services = append(m.services, v)
		m.check(v.ObjectMeta)
	case "apps/v1 Deployment":
		var v apps.Deployment
		read(&v)
		m.workloads = append(m.workloads, workload{v.ObjectMeta, *v.Spec.Replicas, v.Spec.Selector, v.Spec.Template, nil})
		m.check(v.ObjectMeta)
	case "apps/v1 StatefulSet":
		var v apps.StatefulSet
		read(&v)
		m.workloads = append(m.workloads, workload{
			v.ObjectMeta, *v.Spec.Replicas, v.Spec.Selector, v.Spec.Template, v.Spec.VolumeClaimTemplates,
		})
		m.check(v.ObjectMeta)
	case "policy/v1 PodDisruptionBudget":
		var v policy.PodDisruptionBudget
		read(&v)
		m.budgets = append(m.budgets, v)
		m.check(v.ObjectMeta)
	case "batch/v1 CronJob":
		var v batch.CronJob
		read(&v)
		m.cronJobs = append(m.cronJobs, v)
		m.check(v.ObjectMeta)
	default:
		m.t.Fatalf("an unknown kind: %q\n%s", kind, document)
	}
}

// check asks Kubernetes' own rules about names and labels.
func (m *manifest) check(o meta.ObjectMeta) {
	m.t.Helper()
	o.Namespace = cmp.Or(o.Namespace, "default")
	found := validation.ValidateObjectMeta(&o, true, validation.NameIsDNSLabel, field.NewPath("metadata"))
	if err := found.ToAggregate(); err != nil {
		m.t.Errorf("%s: %v", o.Name, err)
	}
}

// checkPod looks at what all pods must have.
func (m *manifest) checkPod(p core.PodSpec, volumes ...string) core.Container {
	m.t.Helper()
	if len(p.Containers) != 1 {
		m.t.Fatalf("%d containers", len(p.Containers))
	}
	c := p.Containers[0]
	pod, own := p.SecurityContext, c.SecurityContext
	if !*pod.RunAsNonRoot || *pod.RunAsUser == 0 || pod.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault ||
		*own.AllowPrivilegeEscalation || !*own.ReadOnlyRootFilesystem ||
		!slices.Equal(own.Capabilities.Drop, []core.Capability{"ALL"}) || *p.AutomountServiceAccountToken {
		m.t.Errorf("the pod may too much: %+v, %+v", pod, own)
	}
	for _, v := range p.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, v := range c.VolumeMounts {
		if !slices.Contains(volumes, v.Name) {
			m.t.Errorf("no volume %s", v.Name)
		}
	}
	if c.Resources.Requests.Memory().Cmp(*c.Resources.Limits.Memory()) > 0 && !c.Resources.Limits.Memory().IsZero() {
		m.t.Error("it asks for more memory than it may have")
	}
	return c
}

// selects reports whether a selector finds a pod, and nothing is left to
// chance: both must be valid.
func (m *manifest) selects(s *meta.LabelSelector, w workload) bool {
	m.t.Helper()
	found := metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, field.NewPath("selector"))
	found = append(found, metavalidation.ValidateLabels(w.template.Labels, field.NewPath("labels"))...)
	if err := found.ToAggregate(); err != nil {
		m.t.Error(err)
	}
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		m.t.Fatal(err)
	}
	return selector.Matches(labels.Set(w.template.Labels))
}

// checkWorkload looks at what all that runs workers must have.
func (m *manifest) checkWorkload(w workload, drain int64, memory int64) {
	m.t.Helper()
	var claims []string
	for _, c := range w.claims {
		claims = append(claims, c.Name)
	}
	c := m.checkPod(w.template.Spec, claims...)
	if grace := *w.template.Spec.TerminationGracePeriodSeconds; grace <= drain {
		m.t.Errorf("%s: killed after %d s, and drains for %d s", w.meta.Name, grace, drain)
	}
	if got := c.Resources.Limits.Memory().Value(); got <= memory {
		m.t.Errorf("%s: killed at %d bytes, and ends by itself at %d", w.meta.Name, got, memory)
	}
	for name, p := range map[string]*core.Probe{"startup": c.StartupProbe, "ready": c.ReadinessProbe, "live": c.LivenessProbe} {
		if p == nil || p.Exec == nil || len(p.Exec.Command) < 2 || p.Exec.Command[0] != c.Command[0] {
			m.t.Errorf("%s: probe %s: %+v", w.meta.Name, name, p)
		}
	}
	if !m.selects(w.selector, w) {
		m.t.Errorf("%s does not select its own pods", w.meta.Name)
	}
	n := 0
	for _, b := range m.budgets {
		if m.selects(b.Spec.Selector, w) {
			n++
		}
	}
	if n != 1 {
		m.t.Errorf("%s has %d budgets for disruptions", w.meta.Name, n)
	}
}

func TestAStoreInAFileGetsOnePodWithAVolume(t *testing.T) {
	m := generate(t, config)
	if len(m.workloads) != 1 || m.workloads[0].replicas != 1 || len(m.workloads[0].claims) != 1 {
		t.Fatalf("%+v", m.workloads)
	}
	w := m.workloads[0]
	m.checkWorkload(w, 40, 3*512<<20+100<<20)
	c := w.template.Spec.Containers[0]
	if c.Env[0].Value != "sqlite:/var/lib/posthorn/shop.db" || !slices.ContainsFunc(c.VolumeMounts,
		func(v core.VolumeMount) bool { return v.Name == w.claims[0].Name && v.MountPath == "/var/lib/posthorn" }) {
		t.Errorf("the store is not on the volume: %+v, %+v", c.Env, c.VolumeMounts)
	}
	if got := m.configs[0].Data["posthorn.yaml"]; got != config {
		t.Errorf("the configuration is changed:\n%s", got)
	}
	if len(m.services) != 1 || !labels.SelectorFromSet(m.services[0].Spec.Selector).Matches(labels.Set(w.template.Labels)) {
		t.Errorf("services: %+v", m.services)
	}
}

func TestAStoreOnAServerGetsDeployments(t *testing.T) {
	server := []string{"--store", "postgres://db/shop", "--namespace", "shop"}
	m := generate(t, config, append(server, "--replicas", "3")...)
	if len(m.workloads) != 1 || m.workloads[0].replicas != 3 || m.workloads[0].meta.Namespace != "shop" {
		t.Fatalf("%+v", m.workloads)
	}
	m.checkWorkload(m.workloads[0], 40, 3*512<<20+100<<20)

	m = generate(t, config, append(server, "--per-program", "--cron-job")...)
	if len(m.workloads) != 2 || m.workloads[0].replicas != 3 || m.workloads[1].meta.Name != "shop-slow-ones" {
		t.Fatalf("%+v", m.workloads)
	}
	m.checkWorkload(m.workloads[0], 40, 512<<20)
	m.checkWorkload(m.workloads[1], 25, 100<<20)
	if m.selects(m.workloads[0].selector, m.workloads[1]) {
		t.Error("one program selects the pods of the other")
	}
	args := m.workloads[0].template.Spec.Containers[0].Args
	if i := slices.Index(args, "--limit"); i < 0 || args[i+1] != "0" { // the program's own limit would hold
		t.Errorf("a pod must not end after a number of messages: %q", args)
	}
	if len(m.cronJobs) != 1 {
		t.Fatalf("%d CronJobs", len(m.cronJobs))
	}
	c := m.checkPod(m.cronJobs[0].Spec.JobTemplate.Spec.Template.Spec)
	if key := c.Env[0].ValueFrom.SecretKeyRef; key.Name != "shop-env" || key.Key != "POSTHORN_STORE" {
		t.Errorf("the address of the store is from %+v", key)
	}
}

// Names that YAML would take for something else stay names, and a text that no
// block can hold is the same afterwards.
func TestOddNamesAndTextsArriveAsTheyAre(t *testing.T) {
	for _, text := range []string{"", "\n", "  # indented\nretention: 1d\n", "retention: 1d", "retention: 1d\n\n",
		"# \u202e\n", "retention: 1d\r\n", "\n\nretention: 1d\n"} {
		m := generate(t, text, "--name", "1e3", "--secret", "true")
		if m.workloads[0].meta.Name != "1e3" || m.workloads[0].template.Spec.Containers[0].EnvFrom[0].SecretRef.Name != "true" {
			t.Errorf("%q: %+v", text, m.workloads[0].meta)
		}
		if got := m.configs[0].Data["posthorn.yaml"]; got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}
