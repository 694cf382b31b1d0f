package pool

import "database/sql"

// Pools are the figures of the engine's pools, by what their connections are
// for.
func (e *Engine) Pools() map[string]sql.DBStats {
	return map[string]sql.DBStats{
		"effects": e.guarded.Stats(), "control": e.control.Stats(), "app": e.app.Stats(),
	}
}
