package posthorn_test

import (
	"testing"

	"go.uber.org/goleak"

	_ "github.com/posthorn/posthorn/internal/witness" // it sees what the tests log
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
