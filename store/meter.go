package store

import (
	"database/sql"
	"time"
)

// A Meter is told what a store does, for figures. It is called from many goroutines, also
// while a connection is held, and must be fast.
type Meter interface {
	// Committed: one transaction has committed the effects of so many messages.
	Committed(effects int)
	// LeftDirty: a connection was destroyed because of what a handler of this kind, as
	// far as it is known, has left in its session.
	LeftDirty(kind string)
	// Crashed: so many messages have come back because whoever held them has died.
	Crashed(messages int)
}

// noMeter is for those who want no figures.
type noMeter struct{}

func (noMeter) Committed(int)    {}
func (noMeter) LeftDirty(string) {}
func (noMeter) Crashed(int)      {}

// A PoolUse says how much of a pool of connections is used at the moment.
type PoolUse struct {
	Name   string        // effects, control, app, readers or writer
	Size   int           // the most connections; 0 means no bound
	Open   int           // connections
	Busy   int           // connections at work
	Waits  int64         // how often somebody had to wait for one
	Waited time.Duration // how long all of them together
}

// Uses says how the store's connections are used in this process. It asks nobody. Unlike the
// figures of Pools, a connection that a lane keeps for itself is busy only while it works.
func (s *Store) Uses() []PoolUse {
	if p, ok := s.Engine.(interface{ Uses() []PoolUse }); ok {
		return p.Uses()
	}
	return nil
}

// UseOf is the use of a database/sql pool.
func UseOf(name string, db *sql.DB) PoolUse {
	st := db.Stats()
	return PoolUse{
		Name: name, Size: st.MaxOpenConnections, Open: st.OpenConnections, Busy: st.InUse, Waits: st.WaitCount,
		Waited: st.WaitDuration,
	}
}

// Use is how the lanes are used, each of which has a connection of db of its own, and how
// they were waited for by those who borrow them.
func (c *Combiner) Use(name string, db *sql.DB) PoolUse {
	return PoolUse{
		Name: name, Size: cap(c.lanes), Open: db.Stats().OpenConnections, Busy: cap(c.lanes) - len(c.lanes),
		Waits: c.waits.Load(), Waited: time.Duration(c.waited.Load()),
	}
}
