package cli

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"github.com/posthorn/posthorn/internal/printable"
)

// minFlex is how narrow a flexible column may become.
const minFlex = 12

// A laid column is a column of a table with its printable cells, the head first.
type laid[T any] struct {
	column[T]
	cells []string
	width int
}

// lay makes the cells of a column. Only the wide form shows them at any length.
func lay[T any](c column[T], rows []T, wide bool) laid[T] {
	out := laid[T]{column: c, cells: []string{c.head}}
	for _, row := range rows {
		cell := printable.Text(c.cell(row))
		if c.most > 0 && !wide {
			cell = cutTo(cell, c.most)
		}
		out.cells = append(out.cells, cell)
	}
	for _, cell := range out.cells {
		out.width = max(out.width, uniseg.StringWidth(cell))
	}
	return out
}

// least is how narrow the column may become before anything is left out.
func (l laid[T]) least() int {
	if l.flex {
		return min(l.width, minFlex)
	}
	return l.width
}

// writeTable writes rows under their heads. On a terminal no line wraps: what may be brief
// is, what may be missed is left out, and the flexible columns shrink. Anywhere else
// nothing but cells of a column that has bounds is cut.
func writeTable[T any](s *session, wide bool, l listing[T]) {
	var cols []laid[T]
	for _, c := range l.columns {
		if wide || !c.wide {
			cols = append(cols, lay(c, l.rows, wide))
		}
	}
	if s.io.StdoutTerminal && s.io.Width > 0 && !wide {
		cols = fit(cols, l.rows, s.io.Width)
	}
	var b strings.Builder
	for i := range len(l.rows) + 1 {
		var line strings.Builder
		for _, c := range cols {
			line.WriteString(aligned(c.cells[i], c.width, c.right))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(s.io.Stdout, b.String())
}

// fit makes a table so narrow that its lines do not wrap, by what is missed least first.
func fit[T any](cols []laid[T], rows []T, width int) []laid[T] {
	if over(cols, width, laid[T].least) > 0 {
		for i, c := range cols {
			if c.brief != nil {
				c.cell = c.brief
				cols[i] = lay(c.column, rows, false)
			}
		}
	}
	for over(cols, width, laid[T].least) > 0 {
		i := yielding(cols)
		if cols[i].yields == 0 {
			break
		}
		cols = slices.Delete(cols, i, i+1)
	}
	shrink(cols, width, laid[T].least)
	shrink(cols, width, func(laid[T]) int { return 1 })
	return cols
}

// over is by how much the columns, at some width of each, are wider than the terminal.
func over[T any](cols []laid[T], width int, of func(laid[T]) int) int {
	sum := 2*(len(cols)-1) - width
	for _, c := range cols {
		sum += of(c)
	}
	return sum
}

// yielding finds the column that is left out before all others.
func yielding[T any](cols []laid[T]) (at int) {
	for i, c := range cols {
		if c.yields > cols[at].yields {
			at = i
		}
	}
	return at
}

// shrink takes what is over the terminal's width from the widest columns, down to their
// least width.
func shrink[T any](cols []laid[T], width int, least func(laid[T]) int) {
	for n := over(cols, width, func(c laid[T]) int { return c.width }); n > 0; n-- {
		widest := -1
		for i, c := range cols {
			if c.width > least(c) && (widest < 0 || c.width >= cols[widest].width) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		cols[widest].width--
	}
}

// aligned pads or cuts a cell to its column's width, with a gap after it.
func aligned(cell string, width int, right bool) string {
	cell = cutTo(cell, width)
	pad := strings.Repeat(" ", max(width-uniseg.StringWidth(cell), 0))
	if right {
		return pad + cell + "  "
	}
	return cell + pad + "  "
}

// cutTo shortens text to a width in columns, without breaking a character.
func cutTo(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	used, state := 1, -1 // one for the ellipsis
	for rest := s; rest != ""; {
		var cluster string
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+w > width {
			break
		}
		b.WriteString(cluster)
		used += w
	}
	return b.String() + "…"
}

// when makes a column of a time.
func when[T any](head string, of func(T) time.Time) column[T] {
	return column[T]{
		head: head, cell: func(r T) string { return moment(of(r)) }, brief: func(r T) string { return dayOf(of(r)) },
	}
}

// yielding is the column as one that is left out on a narrow terminal: the greater n, the sooner.
func (c column[T]) yielding(n int) column[T] {
	c.yields = n
	return c
}
