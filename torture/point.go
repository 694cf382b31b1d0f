package torture

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
)

// How long a process gets to pass the point at which it is to die, and how many are tried:
// not each of them comes by each point soon.
const (
	passWithin = 2 * time.Second
	pointTries = 4
)

// onlyPoints is possible in a build that can die at a point.
func onlyPoints(*place) string {
	if !failpoint.On {
		return "it needs a build with -tags " + failpoint.Tag + ", as make torture makes one"
	}
	return ""
}

// passes lists the points that a process may pass. It does not migrate, and it tells of no deaths:
// make failpoints tries those points, too.
func (m *member) passes() (ps []failpoint.Point) {
	switch m.role {
	case roleProducer:
		return []failpoint.Point{failpoint.MidSend, failpoint.AfterSend}
	case roleWorker:
		ps = []failpoint.Point{
			failpoint.MidClaim, failpoint.AfterClaim, failpoint.MidExtend, failpoint.BeforeEffect, failpoint.AfterEffect,
			failpoint.BeforeCommit, failpoint.AfterCommit, failpoint.BeforeSettle, failpoint.MidAck, failpoint.MidBury,
			failpoint.MidRetry, failpoint.MidRelease, failpoint.AfterSettle, failpoint.MidPromote, failpoint.MidRescue,
			failpoint.MidFree,
		}
	}
	if m.executes() {
		ps = append(ps, failpoint.MidLetterBack, failpoint.MidOperation)
	}
	return ps
}

// arm gives the process a directory of points, which its own children share.
func (m *member) arm(dir string) error {
	if !failpoint.On {
		return nil
	}
	m.points = dir
	m.cmd.Env = append(m.cmd.Environ(), failpoint.Variable+"="+dir)
	return os.Mkdir(dir, 0o700)
}

// owner is whose directory of points a process has.
func (m *member) owner() *member {
	if m.under != nil {
		return m.under
	}
	return m
}

// dieAtPoint lets a process die at a point, which it has to pass.
func dieAtPoint(ctx context.Context, s *stage, rnd *rand.Rand) error {
	for range pointTries {
		m := s.crew.victim(rnd, roleProducer, roleOperator)
		if m == nil {
			return errNobody
		}
		ps := m.passes()
		p := ps[rnd.IntN(len(ps))]
		died, err := s.crew.let(ctx, m.owner(), p)
		if err != nil {
			return err
		}
		if died {
			s.report.Points[string(p)]++
			return nil
		}
	}
	return errNobody
}

// let lets a process die at a point, if it passes it in time, or one of its children.
func (c *crew) let(ctx context.Context, m *member, p failpoint.Point) (died bool, err error) {
	c.mu.Lock()
	m.dying++
	c.mu.Unlock()
	file := filepath.Join(m.points, string(p))
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return false, err
	}
	for end := time.Now().Add(passWithin); time.Now().Before(end); wait(ctx, 5*time.Millisecond) {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return true, nil // who dies removes it first
		}
	}
	if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.dying--
	return false, nil
}

// killedItself is how a process ends that dies at a point.
const killedItself = "signal: killed"

// fell reports whether a process that has ended without a word did so at a point. It is for
// who has the lock. A supervisor passes none, and dies of nothing but our own kills.
func (c *crew) fell(m *member) bool {
	o := m.owner()
	if m.ended || o.dying == 0 || m.role == roleSupervisor || m.how != killedItself {
		return false
	}
	o.dying--
	return true
}
