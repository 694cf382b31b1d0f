package cli

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/worker"
)

// variableFlights is the environment variable in which a supervisor tells its workers
// where to keep their flight records.
const variableFlights = "POSTHORN_FLIGHTS"

// spareSlots are the slots of a flight record beyond those of the handlers that may run
// at once: effects that hang keep theirs.
const spareSlots = 64

// A recording is the flight record of this process, once it has a worker.
type recording struct{ recorder *flight.Recorder }

// of returns the recorder for a worker of so many handlers at once; nil when no
// supervisor asks for one. A record that cannot be written stops no worker: all that it
// held counts as begun then.
func (r *recording) of(s *session, concurrency int) worker.Recorder {
	dir, _ := s.lookup(variableFlights)
	if dir == "" {
		return nil
	}
	if r.recorder == nil {
		slots := concurrency + max(s.env.Store.Capabilities().Lanes, 1) + spareSlots
		recorder, err := flight.Create(flightFile(dir, os.Getpid()), slots)
		if err != nil {
			s.env.Log.Warn("no flight record: a crash is charged to all messages in hand", "error", err)
			return nil
		}
		r.recorder = recorder
	}
	return r.recorder
}

func (r *recording) close() {
	if r.recorder != nil {
		_ = r.recorder.Close() // what it has noted is in the file
	}
}

// flightFile is where the worker of a process keeps its record.
func flightFile(dir string, pid int) string { return filepath.Join(dir, strconv.Itoa(pid)) }
