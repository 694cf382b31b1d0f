package metrics

import (
	"encoding/json"
	"fmt"
)

// A Dashboard is a file for Grafana, to be imported or provisioned.
type Dashboard struct {
	Name string // without .json
	JSON []byte
}

// Dashboards are those of Grafana: overview, queue, workers, dead letters. They are of
// schema version 39 (Grafana 10.4 and later), and ask for their Prometheus by a variable.
func Dashboards() ([]Dashboard, error) {
	var out []Dashboard
	for _, p := range pages() {
		text, err := json.MarshalIndent(p.dashboard(), "", "  ")
		if err != nil {
			return nil, fmt.Errorf("write dashboard %s: %w", p.name, err)
		}
		out = append(out, Dashboard{Name: "posthorn-" + p.name, JSON: append(text, '\n')})
	}
	return out, nil
}

// A page is a dashboard in short.
type page struct {
	name, title string
	variables   []variable
	panels      []panel
}

// A variable is what the reader of a page may choose; its values come from a label.
type variable struct{ name, metric string }

// A panel is one picture: a row of four figures, or one of two graphs.
type panel struct {
	title, unit string
	help        string
	figure      bool // a single number, red from Bad on
	bad         float64
	low         bool // the number is red below Bad
	queries     []query
}

// A query is an expression and the name of what it gives.
type query struct{ expr, legend string }

// The grid of Grafana has 24 columns.
const (
	gridColumns  = 24
	figureWidth  = 4
	figureHeight = 4
	graphWidth   = 12
	graphHeight  = 8
)

// object is a JSON object.
type object = map[string]any

// source is the Prometheus that the reader has chosen.
func dataSource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

func (p page) dashboard() object {
	panels, x, y, height := []object{}, 0, 0, 0
	for i, panel := range p.panels {
		w, h := graphWidth, graphHeight
		if panel.figure {
			w, h = figureWidth, figureHeight
		}
		if x+w > gridColumns || height != 0 && h != height {
			x, y = 0, y+height
		}
		height = h
		made := panel.object()
		made["id"], made["gridPos"] = i+1, object{"x": x, "y": y, "w": w, "h": h}
		panels = append(panels, made)
		x += w
	}
	return object{
		"uid": "posthorn-" + p.name, "title": "Posthorn: " + p.title, "tags": []string{"posthorn"},
		"schemaVersion": 39, "version": 1, "editable": true, "refresh": "30s", "timezone": "browser", "panels": panels,
		"time":       object{"from": "now-3h", "to": "now"},
		"templating": object{"list": p.templating()},
		"links": []object{{
			"type": "dashboards", "tags": []string{"posthorn"}, "title": "Posthorn", "asDropdown": true, "keepTime": true,
		}},
	}
}

func (p page) templating() []object {
	list := []object{{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}}
	for _, v := range p.variables {
		ask := fmt.Sprintf("label_values(%s, %s)", v.metric, v.name)
		list = append(list, object{
			"name": v.name, "label": v.name, "type": "query", "datasource": dataSource(), "definition": ask,
			"query":   object{"query": ask, "refId": v.name},
			"refresh": 2, "includeAll": true, "multi": true, "allValue": ".*", "sort": 1,
			"current": object{"text": "All", "value": "$__all"},
		})
	}
	return list
}

func (p panel) object() object {
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": dataSource(), "expr": q.expr, "legendFormat": q.legend,
			"exemplar": true, "instant": p.figure, "range": !p.figure,
		})
	}
	out := object{
		"title": p.title, "description": p.help, "datasource": dataSource(), "targets": targets, "type": "timeseries",
		"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []object{}},
		"options": object{
			"legend":  object{"displayMode": "table", "placement": "bottom", "calcs": []string{"lastNotNull", "max"}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		},
	}
	if p.figure {
		out["type"] = "stat"
		out["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "background"}
		out["fieldConfig"] = object{"overrides": []object{}, "defaults": object{
			"unit": p.unit, "noValue": "unknown", "thresholds": p.thresholds(),
		}}
	}
	return out
}

func (p panel) thresholds() object {
	first, then := "green", "red"
	if p.low {
		first, then = then, first
	}
	return object{"mode": "absolute", "steps": []object{
		{"color": first, "value": nil}, {"color": then, "value": p.bad},
	}}
}
