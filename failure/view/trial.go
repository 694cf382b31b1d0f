package view

import (
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
)

// How a trial may end.
const (
	TrialPassed  = "passed"
	TrialFailed  = "failed"
	TrialRefused = "refused"
)

// Trial is what today's handler makes of a dead letter.
type Trial struct {
	ID      string  `json:"id"`
	Kind    string  `json:"kind"`
	Outcome string  `json:"outcome"` // passed, failed or refused
	Class   string  `json:"class,omitempty"`
	Error   string  `json:"error,omitempty"` // or why it was refused
	Was     string  `json:"was"`             // the error of the dead letter
	Same    bool    `json:"same_error"`      // but for what differs between messages of one fault
	Group   string  `json:"fingerprint,omitempty"`
	Rows    int64   `json:"rows"`                 // touched, also by one that failed, which undoes it; -1 is unknown
	Sent    []Sent  `json:"would_send,omitempty"` // of one that failed: had sent before, and does not
	Outside []Sent  `json:"would_send_outside_the_transaction,omitempty"`
	Seconds float64 `json:"duration_seconds"`
	Dirty   string  `json:"left_in_session,omitempty"`
}

// Sent is a message that a trial would have sent.
type Sent struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Queue string `json:"queue"`
}

// OfTrial shows a trial.
func OfTrial(t *failure.Trial) Trial {
	v := Trial{
		ID: t.Letter.ID, Kind: t.Letter.Kind, Outcome: TrialPassed, Class: string(t.Class), Was: t.Letter.Error,
		Rows: t.Rows, Sent: ofSent(t.Sent), Outside: ofSent(t.Outside), Seconds: t.Took.Seconds(), Dirty: t.Dirty,
	}
	switch {
	case t.Refused != nil:
		v.Outcome, v.Error = TrialRefused, t.Refused.Error()
	case t.Err != nil:
		v.Outcome, v.Error, v.Same, v.Group = TrialFailed, t.Err.Error(), !t.Differs, t.Fingerprint
	}
	return v
}

func ofSent(envs []driver.Envelope) (out []Sent) {
	for _, e := range envs {
		out = append(out, Sent{ID: e.ID, Kind: e.Kind, Queue: e.Queue})
	}
	return out
}
