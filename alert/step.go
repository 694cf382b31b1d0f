package alert

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/monitor"
)

// Bounds of the state, which has to fit into a document of a megabyte, and of one delivery.
const (
	maxAlerts = 300
	maxBatch  = 20
	maxError  = 200            // bytes
	keepFor   = 24 * time.Hour // how long the end of an alert is tried to be told
)

// How failed deliveries are tried again.
const (
	firstWait  = 5 * time.Second
	longestNap = 10 * time.Minute
	jitter     = 0.2
	aloneAfter = 3 // tries, after which a notice goes by itself: it may be what is refused
)

// holdFor is how long whoever is to send a notice has for it. Then others may.
const holdFor = time.Minute

// clockBack is how far the time may be behind the state's before its order is not believed.
const clockBack = 10 * time.Minute

// An Input is what a step goes by.
type Input struct {
	Now      time.Time
	Round    *monitor.Round // what is judged now; nil: nothing new
	Channels []Settings
	Busy     []string // channels that take nothing now
	Who      string   // who would send
	Only     string   // only alerts about this host; empty: all
	Apart    bool     // the state is this process's own: what is over is kept until it is shared again
}

// Step takes a verdict in, and says what is to be sent now: for each channel that is not
// busy one batch. The notices are held for Input.Who until Settle tells what came of them,
// or until a minute has passed. It is pure, and the same arguments give the same results.
func Step(s State, in Input) (State, []Notice) {
	s = s.clone()
	if in.Round != nil && s.follows(*in.Round) {
		s.take(in)
	}
	s.forget(in)
	var out []Notice
	for _, c := range in.Channels {
		c = c.withDefaults()
		due := s.due(c, in) // also for one that is busy: what is owed is noted
		if !slices.Contains(in.Busy, c.Name) {
			out = append(out, s.batch(c, due, in)...)
		}
	}
	return s, out
}

// Due reports whether a Step without a verdict would send something.
func (s State) Due(in Input) bool {
	in.Round = nil
	_, notices := Step(s, in)
	return len(notices) > 0
}

// follows reports whether a round is newer than the one that was taken in last. All that are
// remembered stand in one line, by the revisions of the monitor's document.
func (s State) follows(r monitor.Round) bool {
	return r.Revision == 0 || r.Revision > s.Revision || s.At.Sub(r.At).Abs() > clockBack
}

// take opens alerts and ends those whose condition is no more.
func (s *State) take(in Input) {
	r := in.Round
	s.At = r.At
	if r.Revision > 0 {
		s.Revision = r.Revision
	}
	told := map[key]monitor.Condition{}
	for _, c := range r.Conditions {
		if in.Only == "" || c.Host == in.Only {
			told[keyOf(c)] = c
		}
	}
	for i := range s.Alerts {
		a := &s.Alerts[i]
		c, lasts := told[keyOf(a.Condition)]
		switch {
		case a.ended() || in.Only != "" && a.Condition.Host != in.Only:
		case lasts:
			a.Condition = c
			delete(told, keyOf(c))
		default:
			a.Ended = r.At
		}
	}
	for _, c := range r.Conditions { // in their order: the worst first
		if _, isNew := told[keyOf(c)]; isNew {
			s.begin(c, r.At)
		}
	}
}

// begin opens an alert, if there is room.
func (s *State) begin(c monitor.Condition, at time.Time) {
	if len(s.Alerts) >= maxAlerts {
		i := slices.IndexFunc(s.Alerts, Alert.ended)
		s.Dropped++
		if i < 0 {
			return
		}
		s.Alerts = slices.Delete(s.Alerts, i, i+1)
	}
	s.Alerts = append(s.Alerts, open(c, at))
}

// forget drops what is over: silences, and alerts of which everybody knows, or whose end
// could not be told for a day.
func (s *State) forget(in Input) {
	s.Silences = standing(s.Silences, in.Now)
	s.Alerts = slices.DeleteFunc(s.Alerts, func(a Alert) bool {
		if in.Only != "" && a.Condition.Host != in.Only || !a.ended() {
			return false
		}
		late := in.Now.Sub(a.Ended) > keepFor
		done := a.finished(in.Channels, in.Now) && !in.Apart
		if late && !done {
			s.Dropped++
		}
		return late || done
	})
}

// A candidate is an alert of which a channel has to be told something.
type candidate struct {
	index int // in State.Alerts
	event Event
	next  time.Time
}

// batch holds what one channel is to be told now. What was refused several times goes alone.
func (s *State) batch(c Settings, due []candidate, in Input) (out []Notice) {
	for _, d := range due {
		a := &s.Alerts[d.index]
		r := a.Receipts[c.Name]
		alone := r.Tries >= aloneAfter
		if len(out) == maxBatch || alone && len(out) > 0 {
			continue
		}
		out = append(out, Notice{
			ID: a.ID, Channel: c.Name, Event: d.event, Condition: a.Condition, Was: r.Level, Ended: a.Ended, At: in.Now,
		})
		r.Holder, r.Until = in.Who, in.Now.Add(holdFor)
		a.Receipts[c.Name] = r
		if alone {
			return out
		}
	}
	return out
}

// due lists what a channel is to be told now, what has waited longest first. It notes what is
// owed. Of one condition, an earlier alert is told before a later one.
func (s *State) due(c Settings, in Input) (due []candidate) {
	open := map[key]bool{}
	for i := range s.Alerts {
		a := &s.Alerts[i]
		k := keyOf(a.Condition)
		if in.Only != "" && a.Condition.Host != in.Only {
			continue
		}
		_, silenced := s.Silenced(a.Condition, in.Now)
		event, more := a.pending(c, silenced, in.Now)
		r := a.Receipts[c.Name]
		if more && !r.Owed {
			r.Owed = true
			a.Receipts[c.Name] = r
		}
		free := r.Holder == "" || !r.Until.After(in.Now) || r.Until.Sub(in.Now) > holdFor // a clock that was set back
		if more && free && !open[k] && !r.Next.After(in.Now) {
			due = append(due, candidate{i, event, r.Next})
		}
		open[k] = open[k] || more
	}
	slices.SortStableFunc(due, func(a, b candidate) int { return a.next.Compare(b.next) })
	return due
}

// An Outcome is what came of a notice.
type Outcome struct {
	Notice
	Error string // empty: it has arrived
	Void  bool   // it was not tried, or nobody knows
}

// Settle enters what came of notices that who had to send.
func (s State) Settle(who string, now time.Time, outcomes []Outcome) State {
	s = s.clone()
	for _, o := range outcomes {
		i := slices.IndexFunc(s.Alerts, func(a Alert) bool { return a.ID == o.ID })
		if i < 0 {
			continue
		}
		r := s.Alerts[i].Receipts[o.Channel]
		if mine := r.Holder == who; !mine && (o.Void || o.Error != "") {
			continue // somebody else has taken over
		}
		s.Alerts[i].Receipts[o.Channel] = r.after(o, now)
	}
	return s
}

// late are the outcomes that who has delivered when the time to hold them was over: somebody
// else may have sent the same notices meanwhile, or does so now.
func (s State) late(who string, outcomes []Outcome) (late []Outcome) {
	for _, o := range outcomes {
		i := slices.IndexFunc(s.Alerts, func(a Alert) bool { return a.ID == o.ID })
		if i >= 0 && !o.Void && o.Error == "" && s.Alerts[i].Receipts[o.Channel].Holder != who {
			late = append(late, o)
		}
	}
	return late
}

// after is the receipt after an outcome.
func (r Receipt) after(o Outcome, now time.Time) Receipt {
	r.Holder, r.Until = "", time.Time{}
	switch {
	case o.Void:
	case o.Error != "":
		r.Tries++
		r.Next = now.Add(wait(r.Tries, o.ID+o.Channel))
		r.Error = strings.ToValidUTF8(o.Error[:min(len(o.Error), maxError)], "")
		if r.Failing.IsZero() {
			r.Failing = now
		}
	case r.Told != Resolved:
		r.Told, r.Level, r.At, r.Owed = Firing, o.Condition.Level, now, true
		if o.Event == Resolved {
			r.Told = Resolved
		}
		r.Tries, r.Failing, r.Next, r.Error = 0, time.Time{}, time.Time{}, ""
	}
	return r
}

// wait is how long after so many failures in a row nothing is tried: twice as long each time,
// with a part by chance that is the same for the same notice, so that Settle stays pure.
func wait(tries int, seed string) time.Duration {
	d := longestNap
	if tries < 10 {
		d = min(firstWait<<(tries-1), longestNap)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	_, _ = h.Write([]byte{byte(tries)})
	part := float64(h.Sum64()%2001)/1000 - 1 // from -1 to 1
	return d + time.Duration(part*jitter*float64(d))
}

// Standing lists the alerts that last, the worst first.
func (s State) Standing() []Alert {
	out := slices.DeleteFunc(slices.Clone(s.Alerts), Alert.ended)
	slices.SortStableFunc(out, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(b.Condition.Level, a.Condition.Level), a.Condition.Since.Compare(b.Condition.Since))
	})
	return out
}
