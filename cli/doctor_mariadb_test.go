package cli_test

import (
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/internal/testserver"
)

func TestDoctorExaminesAMariaDBStore(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Volatile: true, Settings: map[string]string{"wait_timeout": "5"}})
	store := fmt.Sprintf("store: mysql://%s@%s/test\n", server.Superuser(), server.Addr())
	if out, code := runWith(t, store, "migrate", "up"); code != 0 {
		t.Fatalf("the store cannot be made: %s", out)
	}
	out, code := runWith(t, store+"session: {lock_wait_timeout: 60}\n", "doctor")
	if code != 1 {
		t.Errorf("with broken settings the exit code is %d, want 1", code)
	}
	told(t, out, `^MYSQL-DURABILITY +error .*innodb_doublewrite=0`)
	told(t, out, `^MYSQL-TIMEOUTS +warning .*wait_timeout=5s`)
	told(t, out, `^MYSQL-TIMEOUTS: raise wait_timeout to 30s or more`)
	if out, code = runWith(t, store+"session: {wait_timeout: 28800}\n", "doctor"); code != 1 {
		t.Errorf("the exit code is %d, want 1", code)
	}
	told(t, out, `^MYSQL-TIMEOUTS +ok +.*wait_timeout=8h0m0s`)
	if out, code = runWith(t, store+"session: {wait_timeuot: 60}\n", "doctor"); code != 69 {
		t.Errorf("with a setting that the server refuses the exit code is %d, want 69", code)
	}
	told(t, out, `^STORE-OPEN +error .*wait_timeuot`)
}
