package oracle

import "github.com/posthorn/posthorn/driver"

// A Fate is what the handler of a message does, and so what must become of it.
type Fate string

// The fates of messages that end with one effect.
const (
	Done        Fate = "done"
	FailOnce    Fate = "fail_once"    // an error after the effect was written
	PanicOnce   Fate = "panic_once"   // a panic after the effect was written
	TimeoutOnce Fate = "timeout_once" // waits for the end of its context
	HangOnce    Fate = "hang_once"    // ignores the end of its context
	ExitOnce    Fate = "exit_once"    // ends its process
	Deadlock    Fate = "deadlock"     // takes two locks, in one order or the other
	Conflict    Fate = "conflict"     // is told that its transaction could not be ordered, twice
	Dirty       Fate = "dirty"        // leaves its session dirty
	Spawn       Fate = "spawn"        // sends a message in its transaction
	Patient     Fate = "patient"      // fails for as long as its partner is away
)

// The fates of messages that end as dead letters.
const (
	Reject  Fate = "reject"
	Fail    Fate = "fail"    // an error, always
	Panic   Fate = "panic"   // a panic, always
	Invalid Fate = "invalid" // does not pass its own validation
	Garbage Fate = "garbage" // its body does not decode
	Poison  Fate = "poison"  // ends its process, always
)

// The fates of messages that die until somebody mends them: by a retry, which is a life
// more, or by an edit and a retry.
const (
	Mended  Fate = "mended"  // rejected in its first life
	Relapse Fate = "relapse" // rejected in its first two lives
	Typo    Fate = "typo"    // rejected until its body is edited
)

// The fates of messages that are live at the end of a run.
const (
	Far      Fate = "far"      // due long after it
	Stranger Fate = "stranger" // no worker knows its kind
)

// The fates of messages that the store must refuse.
const (
	TooLarge Fate = "too_large"
	Twin     Fate = "twin" // sent twice in one call, with one id
)

// A place is where a message may be at the end.
type place string

// The places.
const (
	effect place = "effect"
	letter place = "dead letter"
	live   place = "live"
	none   place = "nowhere"
)

// A doom is what must become of an accepted message.
type doom struct {
	place   place
	reason  string // of a dead letter
	charged int    // most attempts that may have been spent when a handler starts

	// Of what dies: in so many lives it does, and in the next it has its effect; 0: in
	// all of them, or typo: in all before its body is edited.
	lives int
	typo  bool
	told  bool // each of its deaths leaves one line of its class in its history
}

// after is what must become of a message that was put back.
func (d doom) after(l life) doom {
	if d.place == letter && (d.lives > 0 && l.sent >= d.lives || d.typo && l.sentEdited > 0) {
		d.place = effect
	}
	return d
}

// unbounded is for handlers whose deadline is so short that any attempt may miss it.
const unbounded = 1 << 30

// dooms is what must become of each fate.
func dooms() map[Fate]doom {
	return map[Fate]doom{
		Done: {place: effect}, Deadlock: {place: effect}, Conflict: {place: effect}, Dirty: {place: effect},
		Spawn: {place: effect}, ExitOnce: {place: effect}, Patient: {place: effect, charged: unbounded},
		FailOnce: {place: effect, charged: 1}, PanicOnce: {place: effect, charged: 1},
		TimeoutOnce: {place: effect, charged: unbounded}, HangOnce: {place: effect, charged: unbounded},
		Reject:  {place: letter, reason: driver.ReasonRejected, told: true},
		Fail:    {place: letter, reason: driver.ReasonExhausted, charged: unbounded},
		Panic:   {place: letter, reason: driver.ReasonExhausted, charged: unbounded},
		Invalid: {place: letter, reason: driver.ReasonInvalid, told: true},
		Garbage: {place: letter, reason: driver.ReasonUndecodable, told: true},
		Poison:  {place: letter, reason: driver.ReasonCrashed},
		Mended:  {place: letter, reason: driver.ReasonRejected, told: true, lives: 1},
		Relapse: {place: letter, reason: driver.ReasonRejected, told: true, lives: 2},
		Typo:    {place: letter, reason: driver.ReasonRejected, told: true, typo: true},
		Far:     {place: live}, Stranger: {place: live},
		TooLarge: {place: none}, Twin: {place: none},
	}
}

// Charged is how many attempts a message of this fate may have spent when its
// handler starts; more were not its own.
func (f Fate) Charged() int { return dooms()[f].charged }

// Lives is in how many lives a message of this fate dies before it is done; 0: it is not
// mended by lives.
func (f Fate) Lives() int { return dooms()[f].lives }

// EndsLive reports whether a message of this fate is live at the end of a run.
func (f Fate) EndsLive() bool { return dooms()[f].place == live }
