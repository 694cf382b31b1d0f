// Command judge looks at what a test run brought to light: judge DIRECTORY. It prints how
// much it looked at, and ends with code 1 where it finds a secret, or a character that a
// terminal obeys, or no evidence.
package main

import (
	"fmt"
	"os"

	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/internal/witness"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge DIRECTORY")
		os.Exit(2)
	}
	v, err := witness.Judge(os.Args[1])
	for _, f := range v.Findings {
		fmt.Println(f)
	}
	fmt.Print("looked at lines of")
	for _, k := range tap.Kinds() {
		fmt.Printf(" %s: %d", k, v.Pieces[k])
	}
	fmt.Printf("; found %d secrets or control characters\n", len(v.Findings))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	if err != nil || len(v.Findings) > 0 {
		os.Exit(1)
	}
}
