package sqlite

import (
	sqldriver "database/sql/driver"
	"reflect"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/store/guard"
)

// An interrupter ends the statement that runs on a connection, as the driver does when a context
// ends (https://www.sqlite.org/c3ref/interrupt.html).
type interrupter struct{ db uintptr }

// cutter is the interrupter of a driver's connection. The driver interrupts, but lets nobody else do
// so; its handle of the connection is where SQLite's own function finds it. Where it has none
// by that name, the driver is left to do it.
func cutter(conn sqldriver.Conn) guard.Cutter {
	v := reflect.ValueOf(conn)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	db := v.Elem().FieldByName("db")
	if !db.IsValid() || db.Kind() != reflect.Uintptr || db.Uint() == 0 {
		return nil
	}
	return interrupter{uintptr(db.Uint())}
}

// Cut interrupts. SQLite forgets an interrupt that comes before the first statement of the connection runs.
func (i interrupter) Cut() {
	tls := libc.NewTLS() // the connection's own is in use
	defer tls.Close()
	lib.Xsqlite3_interrupt(tls, i.db)
}

// Mend does nothing: with the next statement, SQLite forgets the interrupt.
func (interrupter) Mend() {}
