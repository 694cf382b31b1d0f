package supervisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/internal/testcgroup"
	"github.com/posthorn/posthorn/supervisor"
)

// gorge uses memory until somebody ends it.
func gorge() {
	var all [][]byte
	for range 1024 {
		part := make([]byte, 1<<20)
		for i := range part {
			part[i] = byte(i)
		}
		all = append(all, part)
	}
	fmt.Println(len(all)) // so that it is not optimised away
}

// starve is a supervisor whose child gorges; it prints how that ended.
func starve() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	o := supervisor.Options{Observe: func(_ context.Context, e supervisor.Event) {
		if e.Kind == supervisor.KindExited && ctx.Err() == nil {
			_ = json.NewEncoder(os.Stdout).Encode(e.Exit)
			stop()
		}
	}}
	s, err := supervisor.New([]supervisor.Program{child("p", "gorge")}, o)
	if err == nil {
		err = s.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestAChildThatTheKernelKilledForItsMemoryIsToldApart(t *testing.T) {
	group := testcgroup.New(t, 256<<20).Command(os.Args[0])
	cmd := exec.Command(group[0], group[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), roleEnv+"=starve"), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var e supervisor.Exit
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !e.OOM || e.Signal != syscall.SIGKILL || e.Planned {
		t.Errorf("exit %+v", e)
	}
}
