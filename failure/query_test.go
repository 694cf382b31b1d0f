package failure_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// written is terms in a form that is easy to compare.
func written(ts []store.Term) string {
	var out []string
	for _, t := range ts {
		field := t.Field
		if t.Path != "" {
			field += "." + t.Path
		}
		if t.Not {
			field = "not " + field
		}
		out = append(out, fmt.Sprintf("%s %s %q", field, t.Op, t.Values))
	}
	return strings.Join(out, "; ")
}

func TestAQueryIsReadIntoTerms(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	for query, want := range map[string]string{
		"":                                  "",
		"  \t ":                             "",
		"kind:welcome":                      `kind is ["welcome"]`,
		"kind:wel*":                         `kind starts ["wel"]`,
		"KIND:a,b  -queue:x":                `kind is ["a" "b"]; not queue is ["x"]`,
		`error:"no such user"`:              `error has ["no such user"]`,
		`"no such" user`:                    `error has ["no such"]; error has ["user"]`,
		`-deadlock`:                         `not error has ["deadlock"]`,
		"payload.order_id:A-17":             `payload.order_id is ["A-17"]`,
		"payload.Items.0.sku:x payload:raw": `payload.Items.0.sku is ["x"]; payload has ["raw"]`,
		"payload.amount>=12.5":              `payload.amount ge ["12.5"]`,
		`header.X-Tenant:"a b","c"`:         `header.X-Tenant is ["a b" "c"]`,
		"age>1h":                            `died lt ["6400000"]`,
		"age<=1h":                           `died ge ["6400000"]`,
		"died<1970-01-01T00:00:01Z":         `died lt ["1000"]`,
		`sent>="1970-01-01T00:00:01Z"`:      `sent ge ["1000"]`,
		"crashes>2 deliveries:3":            `crashes gt ["2"]; deliveries is ["3"]`,
		`kind:"a\"b\\c"`:                    `kind is ["a\"b\\c"]`,
		`kind:"a*"`:                         `kind is ["a*"]`,
		`kind:"a b"*`:                       `kind starts ["a b"]`,
		`kind:x'; drop table posthorn_letter`: `kind is ["x';"]; error has ["drop"]; ` +
			`error has ["table"]; error has ["posthorn_letter"]`,
		"type:*pgconn.PgError class:bad,timeout": `type is ["*pgconn.PgError"]; class is ["bad" "timeout"]`,
		"Straße":                                 `error has ["Straße"]`,
		`"OR" or AND; "payload." user. error:NOT`: `error has ["OR"]; error has ["or"]; error has ["AND;"]; ` +
			`error has ["payload."]; error has ["user."]; error has ["NOT"]`,
		"group:ab12*": `group starts ["ab12"]`,
	} {
		ts, err := failure.ParseQuery(query, now)
		if got := written(ts); got != want || err != nil {
			t.Errorf("%s\n is %s, %v\nwant %s", query, got, err, want)
		}
	}
}

func TestAQueryThatIsWrongSaysWhere(t *testing.T) {
	for query, want := range map[string]string{
		"kind:a knid:b":           `8: letters have no field "knid"`,
		"kind:":                   "6: the value is missing",
		"kind:a,":                 "8: the value is missing",
		`ö kind:"a`:               "8: this quote has no end",
		"age:1h":                  "4: age is compared with < or >",
		"age>soon":                `5: "soon" is no duration`,
		"age>-1h":                 `5: "-1h" is no duration`,
		"died>soon":               `6: "soon" is no time`,
		"died:2026-01-01":         "5: died is compared with < or >",
		"kind>a":                  `1: field kind has no operator "gt"`,
		"kind.x:a":                "5: only header and payload have something after a dot",
		"header:a":                "7: the name of the header is missing",
		"crashes:many":            `1: "many" is no number`,
		"payload.a>b":             `1: "b" is no number`,
		"kind:a*,b":               "9: either all values of a term end with a star or none",
		`kind:a"b"`:               "7: a quote stands within a value",
		"kind:a OR kind:b":        "8: a query has no OR",
		"kind:a AND -NOT":         "8: a query has no AND",
		"-NOT kind:b":             "2: a query has no NOT",
		"kind:a payload.":         "16: something is missing after the dot",
		"-Header. kind:a":         "9: something is missing after the dot",
		"payload.:a":              "9: the path into the payload is missing",
		"payload.a.>1":            "11: the path into the payload is missing",
		"-":                       "2: here should be a term",
		"a \x00":                  "3: here is a character that no text has",
		strings.Repeat("a ", 60):  "101: a query has at most 50 terms",
		strings.Repeat("a", 5000): "4097: it has more than 4096 bytes",
	} {
		_, err := failure.ParseQuery(query, time.Now())
		var wrong *failure.QueryError
		if !errors.As(err, &wrong) || !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%q: %v", query, err)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, "query, character "+want) {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
}

func TestThePageOnQueriesNamesEachReasonThatALetterCanHave(t *testing.T) {
	page, err := os.ReadFile("../docs/failed-messages.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n| `reason` |")
	line, _, _ := strings.Cut(rest, "\n")
	for _, reason := range driver.Reasons() {
		if !strings.Contains(line, "`"+reason+"`") {
			t.Errorf("docs/failed-messages.md does not name the reason %s: %s", reason, line)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		`kind:a,b -queue:x* error:"no \"such\"" payload.a.b>=1 age<2d header.x:y`,
		`died>2026-01-31`, `-`, `"`, `a:"`, "\xff", `kind:"a"*,"b"*`,
		"kind:a OR -NOT AND", "payload. header.", "payload.a.:x",
	} {
		f.Add(seed)
	}
	now := time.UnixMilli(1e12)
	f.Fuzz(func(t *testing.T, query string) {
		ts, err := failure.ParseQuery(query, now)
		var wrong *failure.QueryError
		switch {
		case errors.As(err, &wrong):
			if wrong.At < 0 || wrong.At > len(query) || wrong.What == "" || wrong.Error() == "" {
				t.Errorf("%q: %+v", query, wrong)
			}
		case err != nil:
			t.Errorf("%q: %v", query, err)
		default: // what was accepted can be answered
			if err := (store.LetterFilter{Terms: ts}).Check(); err != nil {
				t.Errorf("%q is %s: %v", query, written(ts), err)
			}
		}
	})
}
