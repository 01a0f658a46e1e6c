package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// openTerminal opens a pseudo-terminal of that many columns.
func openTerminal(columns int) (outer, inner *os.File, err error) {
	outer, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(outer.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlocking the terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for the terminal's number: %w", err)
	}
	inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	return outer, inner, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)})
}

// cmdOnTerminal runs a program whose stdout is a terminal; FILE gets what the
// terminal shows in the end, FILE.raw every byte that came.
func cmdOnTerminal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 2, "onterminal COLUMNS FILE COMMAND…")
	columns := number(ts, args[0])
	outer, inner, err := openTerminal(columns)
	ts.Check(err)
	defer outer.Close()

	cmd := command(ts, args[2:])
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = inner, &stderr
	ts.Check(cmd.Start())
	inner.Close()
	raw, _ := io.ReadAll(outer) // ends with EIO when the program does
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("%v\nstderr: %s\nterminal: %s", err, &stderr, raw)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".raw"), raw, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(screen(string(raw), columns)), 0o600))
}

var (
	// upAndErase is how mpb goes back over what it drew.
	upAndErase = regexp.MustCompile("\x1b\\[([0-9]+)A\x1b\\[J")
	colours    = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// screen is what a terminal shows after it was sent raw. A line that is too
// wide is marked, since the terminal would have broken it.
func screen(raw string, columns int) string {
	var rows []string
	current := ""
	for raw != "" {
		if m := upAndErase.FindStringSubmatch(raw); m != nil && strings.HasPrefix(raw, m[0]) {
			up := 0
			fmt.Sscan(m[1], &up)
			rows, current, raw = rows[:max(len(rows)-up, 0)], "", raw[len(m[0]):]
			continue
		}
		if m := colours.FindString(raw); m != "" && strings.HasPrefix(raw, m) {
			raw = raw[len(m):]
			continue
		}
		switch raw[0] {
		case '\n':
			rows, current = append(rows, current), ""
		case '\r':
		default:
			current += raw[:1]
		}
		raw = raw[1:]
	}
	rows = append(rows, current)
	for i, row := range rows {
		if n := len([]rune(row)); n > columns {
			rows[i] = fmt.Sprintf("TOO WIDE (%d columns): %s", n, row)
		}
	}
	return strings.Join(rows, "\n")
}
