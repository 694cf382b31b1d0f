package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/testcgroup"
)

func TestAWorkerEndsBeforeTheKernelKillsItForTheMemoryOfItsControlGroup(t *testing.T) {
	const limit = 400 << 20
	st := newStage(t, "")
	st.shop()
	args := testcgroup.New(t, limit).Command(os.Args[0], "consume", "--config", st.config)
	for _, body := range []string{fmt.Sprintf(`{"to":%d}`, limit/100*92), `{"to":0}`} {
		if code := st.run("dispatch", "swell", body); code != 0 {
			t.Fatalf("dispatch: code %d\n%s", code, st.errs.String())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stderr = st.environ(), &st.errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("it did not end by itself: %v; stderr:\n%s", err, st.errs.String())
	}
	want := fmt.Sprintf("of %d bytes", limit/10*9)
	if text := st.errs.String(); !strings.Contains(text, "limit reached: memory") || !strings.Contains(text, want) {
		t.Errorf("its limit was another one than nine tenths of the group's:\n%s", text)
	}
}
