package monitor

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Knowledge says whether a part of a reading tells anything.
type Knowledge int

// What can be known of a part. The zero value is that nothing is.
const (
	NotKnown Knowledge = iota // it could not be read: nothing may be called good because of it
	Known                     // it was read
	Absent                    // there is no such thing here, so nothing about it can be wrong
)

// A Part is one piece of a reading, with the knowledge about it.
type Part[T any] struct {
	Knowledge Knowledge
	Why       string // it is not known
	Value     T
}

// Is makes a part that was read.
func Is[T any](v T) Part[T] { return Part[T]{Knowledge: Known, Value: v} }

// None makes a part that does not exist here.
func None[T any]() Part[T] { return Part[T]{Knowledge: Absent} }

// Missing makes a part that could not be read.
func Missing[T any](why string) Part[T] { return Part[T]{Why: why} }

// A Reading is what was seen in one round. It is not changed afterwards.
type Reading struct {
	// At is the store's clock where it could be read, else the host's: all that
	// the store keeps is stamped by it, and all hosts share it.
	At time.Time
	// Elapsed is the time since this monitor's previous reading by a clock that
	// never jumps; 0 when there was none.
	Elapsed time.Duration
	Host    string

	Store    Part[Store]
	Clock    Part[Clock]
	Queues   Part[[]Queue]
	Letters  Part[map[string]int64] // new dead letters within NewWithin, by queue
	HeldBack Part[[]HeldBack]
	Workers  Part[[]Worker]
	Holds    Part[[]Hold]
	Programs Part[[]Program] // of this host's supervisor
	Server   Part[Connections]
	Pools    Part[[]Pool] // of this process
	Disks    Part[[]Disk] // of this host
	Alerts   Part[[]Undelivered]
}

// NewWithin is the window in which a dead letter counts as new.
const NewWithin = 10 * time.Minute

// A Store is how the store answers.
type Store struct {
	Reachable  bool
	Dialect    string
	Durability driver.Durability
	Latency    time.Duration
	Why        string // it is not reachable
	Try        string // what to do then
}

// A Clock compares the store's clock with this host's.
type Clock struct {
	Skew  time.Duration // how far the store's is ahead
	Doubt time.Duration // how wrong Skew may be either way
}

// A Queue is one queue with its figures.
type Queue struct {
	Name, Transport string // without a transport the configuration does not know it
	Ready, Delayed  int64
	InFlight, Dead  int64
	Suspects        int64
	Oldest          time.Duration // for how long the first ready message has been due
	Paused          bool
	PausedWhy       string
}

// A HeldBack is a kind of which messages were claimed and wait again.
type HeldBack struct {
	Queue, Kind string
	Messages    int64
}

// A Worker is a worker as the registry knows it.
type Worker struct {
	driver.WorkerRecord
	MemoryLimit int64 // of its process in bytes; 0 means none that is known
}

// A Hold is what one worker has in hand of one queue.
type Hold struct {
	Worker, Queue string
	First, Last   time.Time // when the oldest and the newest of it were claimed
}

// Silence is after how long without a heartbeat a worker counts as dead.
const Silence = 30 * time.Second

// Alive reports whether the worker has been heard of lately.
func (w Worker) Alive(at time.Time) bool { return at.Sub(w.Seen) <= Silence }

// Serves reports whether the worker takes messages of a queue.
func (w Worker) Serves(queue string) bool { return slices.Contains(w.Queues, queue) }

// running is the state of a worker in the registry that takes messages.
const running = "running"

// A Program is a program of this host's supervisor.
type Program struct {
	Name          string
	Want, Running int // processes
	Restarts      int // after an end that nobody asked for, within RestartsWithin
	LastExit      string
}

// RestartsWithin is the window in which restarts are counted.
const RestartsWithin = 10 * time.Minute

// Connections are those of the store's server.
type Connections struct{ Used, Most int64 }

// A Pool is one of this process's pools of connections.
type Pool struct {
	Name         string
	InUse, Limit int
	Waits        int64 // how often somebody had to wait for a connection, since the previous reading
}

// A Disk is a file system of this host.
type Disk struct {
	For  string // what it holds
	Path string
	Free int64 // bytes that a user without privileges may write
}

// An Undelivered is a channel that does not take alerts.
type Undelivered struct {
	Channel string
	For     time.Duration
	Alerts  int
	Why     string
}

// lastClaim is when the newest message in flight was claimed from a queue; zero
// if there is none.
func (r Reading) lastClaim(queue string) (last time.Time) {
	for _, h := range r.Holds.Value {
		if h.Queue == queue && h.Last.After(last) {
			last = h.Last
		}
	}
	return last
}

// oldestHold is what a worker has had in hand for longest.
func (r Reading) oldestHold(worker string) (oldest Hold, ok bool) {
	for _, h := range r.Holds.Value {
		if h.Worker == worker && (!ok || h.First.Before(oldest.First)) {
			oldest, ok = h, true
		}
	}
	return oldest, ok
}

// alive lists the workers that have been heard of lately.
func (r Reading) alive() []Worker {
	return slices.DeleteFunc(slices.Clone(r.Workers.Value), func(w Worker) bool { return !w.Alive(r.At) })
}

// A piece names a part of a reading, for rules to say what they need.
type piece string

// The pieces.
const (
	ofStore    piece = "store"
	ofClock    piece = "clock"
	ofQueues   piece = "queues"
	ofLetters  piece = "new dead letters"
	ofHeldBack piece = "kinds that wait"
	ofWorkers  piece = "workers"
	ofHolds    piece = "claims"
	ofPrograms piece = "programs"
	ofServer   piece = "connections"
	ofPools    piece = "pools"
	ofDisks    piece = "disks"
	ofAlerts   piece = "alerts"
)

// ofTheStore reports whether the piece is read from the store.
func (p piece) ofTheStore() bool {
	return p != ofStore && p != ofPrograms && p != ofPools && p != ofDisks
}

// knowledge lists what is known of each piece, in a fixed order.
func (r Reading) knowledge() []pieceKnown {
	return []pieceKnown{
		known(ofStore, r.Store), known(ofClock, r.Clock), known(ofQueues, r.Queues), known(ofLetters, r.Letters),
		known(ofHeldBack, r.HeldBack), known(ofWorkers, r.Workers), known(ofHolds, r.Holds), known(ofPrograms, r.Programs),
		known(ofServer, r.Server), known(ofPools, r.Pools), known(ofDisks, r.Disks), known(ofAlerts, r.Alerts),
	}
}

// A pieceKnown is what is known of one piece.
type pieceKnown struct {
	piece     piece
	knowledge Knowledge
	why       string
}

func known[T any](name piece, p Part[T]) pieceKnown { return pieceKnown{name, p.Knowledge, p.Why} }

// blind lists the pieces that could not be read.
func (r Reading) blind() []pieceKnown {
	return slices.DeleteFunc(r.knowledge(), func(k pieceKnown) bool { return k.knowledge != NotKnown })
}

// away reports whether it is known that the store is not reachable.
func (r Reading) away() bool { return r.Store.Knowledge == Known && !r.Store.Value.Reachable }
