// Command ncruces measures the SQLite driver github.com/ncruces/go-sqlite3/driver.
package main

import (
	"fmt"
	"os"

	_ "github.com/ncruces/go-sqlite3/driver" // the driver

	"github.com/posthorn/posthorn/bench/drivers/internal/measure"
)

func main() {
	if err := measure.Driver("ncruces", "sqlite3", "file:%s?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
