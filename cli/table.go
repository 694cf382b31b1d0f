package cli

import (
	"io"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/posthorn/posthorn/internal/printable"
)

// minFlex is how narrow a flexible column may become.
const minFlex = 12

// writeTable writes rows under their heads. On a terminal it shrinks the
// flexible columns so that no line wraps; anywhere else it cuts nothing.
func writeTable[T any](s *session, wide bool, l listing[T]) {
	var columns []column[T]
	for _, c := range l.columns {
		if wide || !c.wide {
			columns = append(columns, c)
		}
	}
	cells, widths := measure(columns, l.rows)
	if s.io.StdoutTerminal && s.io.Width > 0 && !wide {
		shrink(columns, widths, s.io.Width)
	}
	var b strings.Builder
	for _, row := range cells {
		for i, cell := range row {
			b.WriteString(aligned(cell, widths[i], columns[i].right, i == len(row)-1))
		}
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(s.io.Stdout, b.String())
}

// measure makes the printable cells, the heads first, and their widths.
func measure[T any](columns []column[T], rows []T) (cells [][]string, widths []int) {
	cells, widths = make([][]string, len(rows)+1), make([]int, len(columns))
	for i, c := range columns {
		cells[0] = append(cells[0], c.head)
		for j, row := range rows {
			cells[j+1] = append(cells[j+1], printable.Text(c.cell(row)))
		}
		for _, row := range cells {
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
	}
	return cells, widths
}

// shrink takes from the flexible columns what is over the terminal's width.
func shrink[T any](columns []column[T], widths []int, width int) {
	over := 2*(len(widths)-1) - width
	for _, w := range widths {
		over += w
	}
	for i := len(columns) - 1; i >= 0 && over > 0; i-- {
		if columns[i].flex {
			cut := min(over, max(widths[i]-minFlex, 0))
			widths[i] -= cut
			over -= cut
		}
	}
}

// aligned pads or cuts a cell to its column's width.
func aligned(cell string, width int, right, last bool) string {
	cell = cutTo(cell, width)
	pad := strings.Repeat(" ", max(width-uniseg.StringWidth(cell), 0))
	switch {
	case right && last:
		return pad + cell
	case right:
		return pad + cell + "  "
	case last:
		return cell
	default:
		return cell + pad + "  "
	}
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
