package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotWidth  = 920
	plotTop    = 46
	plotRow    = 20
	plotLeft   = 470 // where bars begin
	plotSpan   = 300 // of the scale
	plotBar    = 12
	plotBottom = 12
)

// plotReach is how far the scale goes from the floor to both sides, in powers
// of two.
const plotReach = 3

// plotStyle has a colour for a summit, a floor, and what is below.
const plotStyle = "<style>text{font:12px sans-serif;fill:#24292f}" +
	".s{fill:#1a7f37}.f{fill:#4ac26b}.b{fill:#d4a72c}</style>\n"

// plotLegend says what is drawn.
const plotLegend = "Bars and figures: measured; blue lines: summits; in brackets: floors."

// plot draws how far each goal was reached: a bar for each, on a logarithmic
// scale on which all the floors are one line.
func (d document) plot(b *strings.Builder) {
	var rows []reached
	for _, r := range d.reached() {
		if r.floor > 0 && !math.IsNaN(r.value) {
			rows = append(rows, r)
		}
	}
	height := plotTop + plotRow*len(rows) + plotBottom
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n",
		plotWidth, height, plotWidth, height)
	b.WriteString("<title>What was measured, against the floor of each goal</title>\n")
	b.WriteString(plotStyle)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	fmt.Fprintf(b, `<text x="12" y="18">Posthorn on %s. %s</text>`+"\n", html.EscapeString(d.Machine.Date), plotLegend)
	for power := -plotReach; power <= plotReach; power++ {
		plotGrid(b, power, height)
	}
	for i, r := range rows {
		r.bar(b, plotTop+plotRow*i)
	}
	b.WriteString("</svg>\n")
}

// plotGrid draws the line of a power of two; that of the floors is stronger.
func plotGrid(b *strings.Builder, power, height int) {
	x, stroke, label := plotX(math.Exp2(float64(power))), "#d0d7de", fmt.Sprintf("× %g", math.Exp2(float64(power)))
	if power == 0 {
		stroke, label = "#24292f", "floor"
	}
	fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n",
		x, plotTop-8, x, height-plotBottom, stroke)
	fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, plotTop-14, label)
}

// plotX is where a multiple of a floor is; what lies beyond the scale is at its
// end.
func plotX(multiple float64) float64 {
	power := math.Log2(multiple)
	return plotLeft + plotSpan*(min(max(power, -plotReach), plotReach)+plotReach)/(2*plotReach)
}

// multiple is how many times as good as the floor a figure is.
func (r reached) multiple(v float64) float64 {
	if r.more() {
		return v / r.floor
	}
	return r.floor / v // of nothing, it is infinite
}

// bar draws one goal.
func (r reached) bar(b *strings.Builder, y int) {
	class := map[string]string{"summit": "s", "floor": "f"}[r.verdict]
	if class == "" {
		class = "b"
	}
	x := plotX(r.multiple(r.value))
	fmt.Fprintf(b, `<text x="12" y="%d">%s</text>`+"\n", y+plotBar-1, html.EscapeString(r.store+": "+r.title))
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-8, y+plotBar-1,
		html.EscapeString(r.against()))
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`+"\n",
		class, plotLeft, y, x-plotLeft, plotBar)
	if r.summit > 0 {
		at := plotX(r.multiple(r.summit))
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#0969da" stroke-width="2"/>`+"\n",
			at, y-2, at, y+plotBar+2)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">%s (%s)</text>`+"\n", plotLeft+plotSpan+14, y+plotBar-1,
		html.EscapeString(r.text(r.value)), html.EscapeString(r.text(r.floor)))
}
