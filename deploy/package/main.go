// Command package makes the parts of a package that are no program: the manual
// page popfetchd.yaml(5) from docs/config.md, the notices of what is linked in,
// and what Debian wants to know. The Makefile calls it; it prints its result.
//
//	package manual docs/config.md    popfetchd.yaml(5)
//	package copyright GOOS/GOARCH    the licences of the program and of all modules in it
//	package debcopyright GOOS/GOARCH the same, as Debian wants it
//	package debversion               Debian's form of the version
//	package debchangelog             Debian's changelog, of one entry
//
// $VERSION is what git describe says, $SOURCE_DATE_EPOCH the time of the
// commit: nothing else of the surroundings goes into what is printed.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	version := os.Getenv("VERSION")
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil || version == "" {
		return fmt.Errorf("the environment must give VERSION and SOURCE_DATE_EPOCH")
	}
	date := time.Unix(seconds, 0).UTC()
	var out []byte
	switch {
	case len(args) == 2 && args[0] == "manual":
		var paper []byte
		if paper, err = os.ReadFile(args[1]); err == nil {
			out, err = manual(string(paper), version, date)
		}
	case len(args) == 2 && (args[0] == "copyright" || args[0] == "debcopyright"):
		out, err = copyright(args[1], args[0] == "debcopyright")
	case len(args) == 1 && args[0] == "debversion":
		out = []byte(debianVersion(version, date) + "\n")
	case len(args) == 1 && args[0] == "debchangelog":
		out = []byte(debianChangelog(version, date))
	default:
		return fmt.Errorf("usage: manual FILE, copyright GOOS/GOARCH, debcopyright GOOS/GOARCH, debversion or debchangelog")
	}
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}
