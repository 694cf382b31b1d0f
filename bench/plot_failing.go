package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The measures of the curves of failing messages, in pixels.
const (
	curveWidth  = 620
	curveHeight = 300
	curveLeft   = 60
	curveStep   = 140 // between two shares
	curveTop    = 40
	curveFloor  = 260 // where nothing is left
)

// A curve is what a store keeps of its rate at each share of failing messages.
type curve struct {
	title string
	kept  []float64
}

// curves are those of the stores on which all shares were measured.
func (d document) curves() (all []curve) {
	for _, at := range d.Stores {
		c := curve{title: at.Title}
		us := subject{at.Name, ours}
		none := one{"failing", "p0", us}
		for _, percent := range failingShares() {
			kept := d.results.ratio(one{"failing", fmt.Sprintf("p%d", percent), us}, none)
			if !math.IsNaN(kept) {
				c.kept = append(c.kept, kept)
			}
		}
		if len(c.kept) == len(failingShares()) {
			all = append(all, c)
		}
	}
	return all
}

// plotFailing draws the rates against the share of failing messages.
func (d document) plotFailing(b *strings.Builder) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n",
		curveWidth, curveHeight, curveWidth, curveHeight)
	b.WriteString("<title>Rate against the share of messages that fail once</title>\n" +
		"<style>text{font:12px sans-serif;fill:#24292f}polyline{fill:none;stroke-width:2}</style>\n")
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", curveWidth, curveHeight)
	fmt.Fprintf(b, `<text x="12" y="18">Posthorn on %s: messages done, against a run in which none fails</text>`+"\n",
		html.EscapeString(d.Machine.Date))
	for part := 0.0; part <= 1; part += 0.25 {
		fmt.Fprintf(b, `<line x1="%d" y1="%.0f" x2="%d" y2="%.0f" stroke="#d0d7de"/>`+"\n",
			curveLeft, curveY(part), curveLeft+curveStep*(len(failingShares())-1), curveY(part))
		fmt.Fprintf(b, `<text x="%d" y="%.0f" text-anchor="end">%.0f %%</text>`+"\n", curveLeft-8, curveY(part)+4, part*100)
	}
	for i, percent := range failingShares() {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%d %% fail</text>`+"\n",
			curveLeft+curveStep*i, curveFloor+20, percent)
	}
	for i, c := range d.curves() {
		c.draw(b, []string{"#0969da", "#1a7f37", "#bf3989"}[i%3])
	}
	b.WriteString("</svg>\n")
}

// curveY is where a part of the rate is; more than all is at the top.
func curveY(part float64) float64 { return curveFloor - (curveFloor-curveTop)*min(part, 1) }

// draw draws a curve with its store's name at the end.
func (c curve) draw(b *strings.Builder, colour string) {
	points := make([]string, len(c.kept))
	for i, kept := range c.kept {
		points[i] = fmt.Sprintf("%d,%.1f", curveLeft+curveStep*i, curveY(kept))
	}
	last := len(points) - 1
	fmt.Fprintf(b, `<polyline stroke="%s" points="%s"/>`+"\n", colour, strings.Join(points, " "))
	fmt.Fprintf(b, `<text x="%d" y="%.1f">%s, %.0f %%</text>`+"\n", curveLeft+curveStep*last+8, curveY(c.kept[last])+4,
		html.EscapeString(c.title), c.kept[last]*100)
}
