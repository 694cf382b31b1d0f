package migrate_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/migrate"
)

func TestTheIndexesAreThoseThatTheAppliedMigrationsLeave(t *testing.T) {
	now := time.Now()
	ms := []migrate.Migration{
		{Version: 1, AppliedAt: now, SQL: "-- A claim walks this index on x;\ncreate table x (a int unique);\n" +
			"create index x_a on x (a,\n  b desc) where a > 0;\ncreate unique index if not exists x_b on x (b);\n"},
		{Version: 2, AppliedAt: now, SQL: "drop index x_b;\nCREATE INDEX x_c ON x (c);\n"},
		{Version: 3, SQL: "create index x_d on x (d);"},
	}
	want := []migrate.Index{
		{Name: "x_a", SQL: "create index x_a on x (a, b desc) where a > 0;"},
		{Name: "x_c", SQL: "CREATE INDEX x_c ON x (c);"},
	}
	if got := migrate.Indexes(ms); !reflect.DeepEqual(got, want) {
		t.Errorf("Indexes = %q, want %q", got, want)
	}
	if p := migrate.Pending(ms); len(p) != 1 || p[0].Version != 3 {
		t.Errorf("Pending = %v, want the third", p)
	}
}
