// Command posthorn is the stock binary: every command that needs no handler.
package main

import "github.com/posthorn/posthorn/cli"

func main() { cli.Main(cli.App{Name: "posthorn"}) }
