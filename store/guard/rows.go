package guard

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// closeWithin is how long rows that are open when their context ends may take
// to be closed. Many drivers give the connection up when a context ends, and
// the effects of others would go with it.
const closeWithin = 500 * time.Millisecond

// lend runs a query, and keeps a handler's rows in mind.
func (c *Conn) lend(
	ctx context.Context, query func(context.Context) (sqldriver.Rows, error),
) (sqldriver.Rows, error) {
	ctx, done := c.Guard.bind(ctx)
	if !c.Guard.Watches() {
		raw, err := query(ctx)
		if err != nil {
			done()
			return nil, hide(err)
		}
		return &rows{Rows: raw, conn: c, done: done}, nil
	}
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	raw, err := query(own)
	stop()
	if err != nil {
		cancel(nil)
		done()
		return nil, c.Guard.judge(ctx, endedBy(ctx, err))
	}
	stop = context.AfterFunc(ctx, func() { time.AfterFunc(closeWithin, func() { cancel(context.Cause(ctx)) }) })
	r := &rows{Rows: raw, conn: c, done: func() { stop(); cancel(nil); done() }, lent: true}
	c.rows[r] = true
	c.lent++
	return r, nil
}

// endedBy is the error of a statement whose own context was cancelled because
// another one had ended.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

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
	return hide(r.Rows.Next(dest))
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
