package guard

import (
	sqldriver "database/sql/driver"
	"io"
	"reflect"

	"github.com/posthorn/posthorn/driver"
)

// rows are a result on a Conn. What the driver's own rows can tell beyond the
// least, they tell, too.
type rows struct {
	sqldriver.Rows
	conn   *Conn
	done   func()
	lent   bool
	closed bool
}

// Next reads a row.
func (r *rows) Next(dest []sqldriver.Value) error {
	if r.closed {
		return driver.ErrTxDone
	}
	return r.Rows.Next(dest)
}

// Close is database/sql's.
func (r *rows) Close() error {
	if r.lent {
		r.lent = false
		r.conn.lent--
	}
	return r.end()
}

// end frees them, once.
func (r *rows) end() error {
	if r.closed {
		return nil
	}
	r.closed = true
	delete(r.conn.rows, r)
	defer r.done()
	return r.Rows.Close()
}

// HasNextResultSet is the driver's own.
func (r *rows) HasNextResultSet() bool {
	sets, ok := r.Rows.(sqldriver.RowsNextResultSet)
	return ok && !r.closed && sets.HasNextResultSet()
}

// NextResultSet is the driver's own.
func (r *rows) NextResultSet() error {
	sets, ok := r.Rows.(sqldriver.RowsNextResultSet)
	if !ok || r.closed {
		return io.EOF
	}
	return sets.NextResultSet()
}

// ColumnTypeScanType is the driver's own.
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	if c, ok := r.Rows.(sqldriver.RowsColumnTypeScanType); ok {
		return c.ColumnTypeScanType(i)
	}
	return reflect.TypeFor[any]()
}

// ColumnTypeDatabaseTypeName is the driver's own.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	if c, ok := r.Rows.(sqldriver.RowsColumnTypeDatabaseTypeName); ok {
		return c.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

// ColumnTypeLength is the driver's own.
func (r *rows) ColumnTypeLength(i int) (int64, bool) {
	if c, ok := r.Rows.(sqldriver.RowsColumnTypeLength); ok {
		return c.ColumnTypeLength(i)
	}
	return 0, false
}

// ColumnTypeNullable is the driver's own.
func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	if c, has := r.Rows.(sqldriver.RowsColumnTypeNullable); has {
		return c.ColumnTypeNullable(i)
	}
	return false, false
}

// ColumnTypePrecisionScale is the driver's own.
func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	if c, has := r.Rows.(sqldriver.RowsColumnTypePrecisionScale); has {
		return c.ColumnTypePrecisionScale(i)
	}
	return 0, 0, false
}
