package monitor

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// A Unit says what a rule's value and thresholds measure.
type Unit string

// The units.
const (
	Count   Unit = "count"
	Share   Unit = "share"   // of one
	Seconds Unit = "seconds" // written as a duration
	Bytes   Unit = "bytes"
	Levels  Unit = "level" // the rule itself says how bad it is: there is no threshold
)

// A Rule turns a reading into findings about subjects: queues, workers,
// programs, disks. It is pure. What a Pack holds may be changed in its
// exported fields before it is given to an Engine.
type Rule struct {
	Name  string // stable: configuration and scripts know it
	About string // what it watches, in one sentence
	Unit  Unit

	// Warning and Critical are what a value has to exceed, or with Below to fall
	// short of; NaN is no threshold. A level that was told is taken back only
	// when the value is a tenth on the other side.
	Warning, Critical float64
	Below             bool

	For   time.Duration // how long a level must be seen before it is told
	Clear time.Duration // how long a better one must be seen before it is told
	Off   bool
	Local bool // it looks at this host only

	Action  ActionKind   // what is done about a critical condition
	Actions []ActionKind // what could be chosen

	needs []piece
	judge func(Reading, Past, Rule) []Finding
	calm  func(Reading, Past) string // what is said when nothing is wrong
	perf  func(Reading, Rule) string // performance data for Nagios; may be nil
}

// A Finding is what a rule sees of one subject, good or bad.
type Finding struct {
	Subject string
	Value   float64
	Text    string // what was seen
	Impact  string // what it means for messages
	Try     string // the command to run next, without the program's name
	Target  Target // of the rule's action
	Local   bool   // it is about this host only, as all findings of a local rule are
}

// slack is the part of a threshold by which a value must be better before its
// level is taken back.
const slack = 0.1

// noThreshold is a threshold that nothing exceeds.
func noThreshold() float64 { return math.NaN() }

// Level is the level of a value; told is the one that stands.
func (r Rule) Level(value float64, told Level) Level {
	if r.Unit == Levels {
		return Level(value)
	}
	switch {
	case r.beyond(value, r.Critical, told == Critical):
		return Critical
	case r.beyond(value, r.Warning, told >= Warning):
		return Warning
	}
	return OK
}

func (r Rule) beyond(value, threshold float64, stands bool) bool {
	if r.Below {
		return value < threshold || stands && value < threshold*(1+slack)
	}
	return value > threshold || stands && value > threshold*(1-slack)
}

// threshold is the one that a level has to do with.
func (r Rule) threshold(l Level) float64 {
	t := r.Warning
	if l == Critical || math.IsNaN(t) {
		t = r.Critical
	}
	if r.Unit == Levels || math.IsNaN(t) {
		return 0
	}
	return t
}

// canJudge reports whether the reading has what the rule needs, and if not,
// why. A piece that does not exist here leaves nothing to judge.
func (r Rule) canJudge(in Reading) (yes bool, why string) {
	for _, k := range in.knowledge() {
		if k.knowledge == NotKnown && slices.Contains(r.needs, k.piece) {
			return false, string(k.piece) + " unknown: " + cmp.Or(k.why, "not read")
		}
	}
	return true, ""
}

// Bounds of what a rule finds, and so of the state, which has to fit into a
// document of a megabyte.
const (
	maxFindings = 50
	maxText     = 400 // bytes
)

// Judge lists what the rule sees, the worst first, at most 50 subjects. past
// has taken the reading in. ok is false when the reading lacks what the rule
// needs: then nothing is known.
func (r Rule) Judge(in Reading, past Past) (found []Finding, ok bool) {
	if yes, _ := r.canJudge(in); !yes {
		return nil, false
	}
	found = r.judge(in, past, r)
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(r.Level(b.Value, OK), r.Level(a.Value, OK)), cmp.Compare(a.Subject, b.Subject))
	})
	found = found[:min(len(found), maxFindings)]
	for i := range found {
		found[i].Text = clip(found[i].Text)
	}
	return found, true
}

// clip shortens a text, between two characters.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
