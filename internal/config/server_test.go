package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
)

func TestTheServersSettingsAndThePoolAreRead(t *testing.T) {
	c := parse(t, `
session: {statement_timeout: 30s, wait_timeout: 28800, jit: off, search_path: "", shop.tenant: "${TENANT}"}
pool: {effects: 8, control: 2, app: 5, lifetime: 1h, idle_check: 5s, connect_timeout: 2s}
`, "TENANT", "it's 7")
	for name, want := range map[string]string{
		"statement_timeout": "30s", "wait_timeout": "28800", "jit": "off", "search_path": "", "shop.tenant": "it's 7",
	} {
		if got, there := c.Session[name]; !there || got != want {
			t.Errorf("session.%s is %q, want %q", name, got, want)
		}
	}
	want := config.Pool{
		Effects: 8, Control: 2, App: 5, Lifetime: time.Hour, IdleCheck: 5 * time.Second, ConnectTimeout: 2 * time.Second,
	}
	if c.Pool != want || len(c.Session) != 5 {
		t.Errorf("pool %+v, session %v", c.Pool, c.Session)
	}
	if s, ok := c.Setting("session.wait_timeout"); !ok || s.Origin != "posthorn.yaml:2:49" {
		t.Errorf("where session.wait_timeout comes from: %+v", s)
	}
}

func TestWithoutAPoolThereIsOne(t *testing.T) {
	c := parse(t, "", "POSTHORN_POOL_EFFECTS", "6")
	want := config.Pool{Effects: 6, Control: 3, App: 8, Lifetime: 30 * time.Minute, IdleCheck: 10 * time.Second}
	if c.Pool != want || len(c.Session) != 0 {
		t.Errorf("pool %+v, session %v; connect_timeout is left to the address", c.Pool, c.Session)
	}
}

func TestABadServerSettingIsToldWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"session: {'a b': 1}":                            "posthorn.yaml:1:11: session.a b: bad session setting: a name",
		"session: {'x;drop table y': 1}":                 "posthorn.yaml:1:11: ",
		"session: {statement_timeout: }":                 "posthorn.yaml:1:11: session.statement_timeout: it has no value",
		"session: {x: \"a\\0b\"}":                        "session.x: bad session setting: the value of x has a zero",
		"session: {x: " + strings.Repeat("y", 2000):      "did not find",
		"session: {x: " + strings.Repeat("y", 2e3) + "}": "more than 1000 bytes",
		"session: {x: [1]}":                              "posthorn.yaml:1:14: session.x needs a text, but has a list",
		"session: [x]":                                   "session needs keys with values",
		"pool: {effects: 0}":                             "posthorn.yaml:1:17: pool.effects: 0 is below 1",
		"pool: {efects: 1}":                              "pool has no key `efects`",
		"pool: {lifetime: 1ms}":                          "1ms is below 1s",
	} {
		_, err := config.Parse(config.Source{File: "posthorn.yaml", Lookup: env()}, []byte(text))
		var faults *config.Error
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}
