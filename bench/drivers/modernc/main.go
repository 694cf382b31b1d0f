// Command modernc measures the SQLite driver modernc.org/sqlite.
package main

import (
	"fmt"
	"os"

	_ "modernc.org/sqlite" // the driver

	"github.com/posthorn/posthorn/bench/drivers/internal/measure"
)

func main() {
	if err := measure.Driver("modernc", "sqlite", "file:%s?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
