package supervisor

import (
	"syscall"
	"time"
)

// A Kind says what an event is about.
type Kind string

// The kinds of events.
const (
	KindStarted   Kind = "started"
	KindReady     Kind = "ready"
	KindFields    Kind = "fields"     // the process has announced fields, or other values
	KindExited    Kind = "exited"     // the process has ended and is reaped, or could not be started
	KindCrashLoop Kind = "crash_loop" // it fails again and again; it is still restarted
	KindRecovered Kind = "recovered"  // it has been healthy for long enough
)

// An Event tells the observer what has happened to a process.
type Event struct {
	Kind    Kind
	At      time.Time
	Program string
	Place   int // the number of the process within its program
	PID     int
	Fields  map[string]string // what the process has announced, as X_POSTHORN_NAME
	Exit    *Exit             // of KindExited, else nil
	Reason  string
}

// An Exit is how a process ended, with the evidence of why.
type Exit struct {
	Code       int            // -1 if a signal ended it
	Signal     syscall.Signal // 0 if it ended by itself
	CoreDumped bool
	Planned    bool // the supervisor had told it to end
	OOM        bool // it died for want of memory
	Started    time.Time
	Ended      time.Time
	MaxRSS     int64    // the most resident memory, in bytes; 0 if unknown
	Curve      []Sample // the resident memory of its last minute
	Stderr     []string // its last lines, escaped
	Err        error    // why it could not be started; the rest is empty then
}

// Clean reports whether the process ended by itself and without complaint.
func (e Exit) Clean() bool { return e.Err == nil && e.Code == 0 && e.Signal == 0 }

// A Sample is the resident memory of a process at a moment.
type Sample struct {
	At  time.Time
	RSS int64 // bytes
}

// A ProcessStatus is what the supervisor knows of one place of a program.
type ProcessStatus struct {
	Program  string
	Place    int
	PID      int // 0 while there is no process
	Phase    Phase
	Since    time.Time // of the phase
	Started  time.Time // of the process, or of the last one
	Restarts int       // processes that this place has had before
	Failures int       // failures in a row
	Looping  bool      // they are a crash loop
	RSS      int64     // bytes; 0 if unknown
	Status   string    // what it said with STATUS=
	Fields   map[string]string
	LastExit *Exit // of the process before; nil if there was none
	Reason   string
}
