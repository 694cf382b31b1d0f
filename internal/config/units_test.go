package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/config"
)

func TestADurationNeedsAUnitAndIsNotNegative(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute,
		"30d": 720 * time.Hour, "1d12h": 36 * time.Hour,
	} {
		if got, err := config.ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "3600", "-1s", "-1d", "1x", "d", "1d-2h", "999999999d", "1h 2m", "NaN", "106751d24h"} {
		if got, err := config.ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestABareNumberOfSecondsIsWhatSymfonyMeans(t *testing.T) {
	for in, want := range map[string]time.Duration{"3600": time.Hour, "1.5": 1500 * time.Millisecond, "1h": time.Hour} {
		if got, err := config.ParseSeconds(in); err != nil || got != want {
			t.Errorf("ParseSeconds(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"-1", "NaN", "Inf", "1e30", ""} {
		if got, err := config.ParseSeconds(in); err == nil {
			t.Errorf("ParseSeconds(%q) = %v, want an error", in, got)
		}
	}
}

func TestASizeHasBinaryAndDecimalUnits(t *testing.T) {
	for in, want := range map[string]config.Bytes{
		"512M": 512 << 20, "512MiB": 512 << 20, "512mb": 512e6, "1G": 1 << 30, "1GB": 1e9,
		"100": 100, "5 KiB": 5 << 10, "7B": 7,
	} {
		if got, err := config.ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "M", "-1M", "1.5G", "9999999999999999999", "9223372036854775807K", "1TiBB"} {
		if got, err := config.ParseBytes(in); err == nil {
			t.Errorf("ParseBytes(%q) = %v, want an error", in, got)
		}
	}
}

func TestNoWayToPrintADSNShowsItsSecret(t *testing.T) {
	const canary = "c4n4ry"
	for _, raw := range []string{
		"postgres://app:c4n4ry@db/x", "postgres://app:c4n4ry@c4n4ry@db/x", "mysql:app:c4n4ry@tcp(db)/x",
		"postgres://c4n4ry@db", "postgres://db/x?password=c4n4ry", "postgres://db/x?a=1&sslPassword=c4n4ry@c4n4ry",
		"host=db password=c4n4ry user=x", "redis://:c4n4ry@db", "nats://db?auth_token=c4n4ry",
		"postgres://app:a=c4n4ry@db", "postgres://app:x&key=c4n4ry@db", "host=db password='a c4n4ry' user=x",
	} {
		dsn := config.NewDSN(raw)
		inJSON, _ := json.Marshal(map[string]any{"dsn": dsn})
		inYAML, _ := yaml.Marshal(map[string]any{"dsn": dsn})
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("open", "dsn", dsn)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("open", "dsn", dsn, "in", struct{ D config.DSN }{dsn})
		all := fmt.Sprintf("%s %v %+v %#v %q ", dsn, dsn, dsn, dsn, dsn) + string(inJSON) + string(inYAML) + log.String()
		if strings.Contains(all, canary) {
			t.Errorf("%q is shown as %s", raw, all)
		}
		if dsn.Reveal() != raw || !dsn.HasSecret() {
			t.Errorf("Reveal() = %q, HasSecret() = %v for %q", dsn.Reveal(), dsn.HasSecret(), raw)
		}
	}
	for _, raw := range []string{
		"sqlite:posthorn.db", "sqlite:///a/b.db?synchronous=normal", "store", "postgres://db/x?sslmode=off",
	} {
		if got := config.NewDSN(raw).String(); got != raw {
			t.Errorf("%q is shown as %q", raw, got)
		}
	}
}

func TestASuggestionIsNearOrAbsent(t *testing.T) {
	keys := []string{"messages", "memory", "time", "failures"}
	for in, want := range map[string]string{
		"memry": "memory", "mesages": "messages", "tiem": "time", "zebra": "", "x": "",
	} {
		if got := config.Suggest(in, keys); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzADurationThatIsReadIsWrittenBackTheSame(f *testing.F) {
	for _, s := range []string{"1h", "30d", "1d12h", "250ms", "-1s", "1.5h", "9999999d", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := config.ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("ParseDuration(%q) = %v", s, d)
		}
		if again, err := config.ParseDuration(config.FormatDuration(d)); err != nil || again != d {
			t.Fatalf("%q is %v, written %q, read %v, %v", s, d, config.FormatDuration(d), again, err)
		}
	})
}

func FuzzASizeThatIsReadIsWrittenBackTheSame(f *testing.F) {
	for _, s := range []string{"512M", "512MiB", "1GB", "0", "12", "9223372036854775807", "8G "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := config.ParseBytes(s)
		if err != nil {
			return
		}
		if again, err := config.ParseBytes(b.String()); err != nil || again != b || b < 0 {
			t.Fatalf("%q is %d, written %q, read %d, %v", s, b, b, again, err)
		}
	})
}

func FuzzADSNNeverShowsWhatStandsBeforeItsLastAt(f *testing.F) {
	for _, s := range []string{"pw", "p@w", "p:w", "a=b", "x&key=y", "?password=", "://", " "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, password string) {
		secret := "S3CR" + password + "3T"
		shown := config.NewDSN("postgres://user:" + secret + "@host/db").String()
		if strings.Contains(shown, "S3CR") {
			t.Fatalf("%q is shown: %q", secret, shown)
		}
	})
}
