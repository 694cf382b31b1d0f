package open_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

func TestGrantsReadWhereTheTablesAreFromTheAddressAlone(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u@127.0.0.1:1/d":                                   `"public".posthorn_message `,
		"postgresql://u@127.0.0.1:1,127.0.0.1:2/d?prefix=q_":           `"public".q_message `,
		"postgres://u@/d?host=/run/x&schema=jobs":                      `"jobs".posthorn_message `,
		"postgres://127.0.0.1:1?schema=jobs&user=a%40b":                `"jobs".posthorn_message `,
		"mysql://u:p%40%2F@127.0.0.1:1,127.0.0.1:2/shop_db?timeout=1s": "`shop_db`.posthorn_message ",
		"mariadb://u@127.0.0.1/shop?prefix=q_":                         "`shop`.q_message ",
	} {
		got, err := open.Grants(dsn, store.RoleProducer, "web")
		if err != nil || !strings.Contains(got, "grant insert on "+want) {
			t.Errorf("%s gives %q, %v", dsn, got, err)
		}
	}
}

func TestGrantsRefuseWhatHasNoRolesAndTellNoSecret(t *testing.T) {
	for dsn, want := range map[string]error{
		"sqlite:posthorn.db": store.ErrNoRoles, "oracle://u:c4n4ry@h/d": open.ErrScheme,
		"postgres://u:c4n4ry@192.0.2.1/d?sslmode=disable": store.ErrPlaintext,
		"postgres://u:c4n4ry@127.0.0.1/d?schema=A":        store.ErrDSN,
		"mysql://u:c4n4ry@127.0.0.1":                      store.ErrDSN,
		"mysql://u:c4n4ry@127.0.0.1:x/d":                  store.ErrDSN,
	} {
		got, err := open.Grants(dsn, store.RoleViewer, "web")
		if got != "" || !errors.Is(err, want) || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s gives %q, %v, want %v", dsn, got, err, want)
		}
	}
}
