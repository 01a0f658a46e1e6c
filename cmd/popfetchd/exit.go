package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime/debug"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// Exit codes, after sysexits.h.
const (
	exitFine      = 0
	exitUsage     = 64 // the command line
	exitDamage    = 65 // verify found messages missing or changed
	exitBug       = 70 // this program is at fault
	exitLocal     = 74 // local disk, mailbox or ledger
	exitTemporary = 75 // network, busy server, account in use: try again
	exitRefused   = 77 // the server refused the login
	exitConfig    = 78 // the configuration, or a secret it names
)

// gravity is the order in which one exit code speaks for several accounts: the
// first of these that any account has.
var gravity = [...]int{exitConfig, exitRefused, exitLocal, exitBug, exitDamage, exitTemporary}

// usageError is a command line that cannot be carried out: exit code 64.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// exitError carries the exit code of err; a nil err has been told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// exitCode says with which code the program ends because of err.
func exitCode(err error) int {
	var (
		usage  *usageError
		exit   *exitError
		conf   *config.Error
		secret *config.SecretError
		books  *ledger.Error
		disk   *store.Error
		path   *fs.PathError
		visit  *fetch.Error
	)
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &conf), errors.As(err, &secret):
		return exitConfig
	case errors.As(err, &visit), errors.As(err, &books), errors.As(err, &disk), errors.As(err, &path):
		return kindCode(fetch.KindOf(err))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return exitTemporary
	}
	return exitBug
}

// kindCode is the exit code for a kind of failure.
func kindCode(k fetch.Kind) int {
	switch k {
	case fetch.Fine:
		return exitFine
	case fetch.Configuration:
		return exitConfig
	case fetch.Refused:
		return exitRefused
	case fetch.Local:
		return exitLocal
	case fetch.Temporary:
		return exitTemporary
	}
	return exitBug
}

// gravest picks the code that speaks for all of codes.
func gravest(codes []int) int {
	for _, g := range gravity {
		for _, c := range codes {
			if c == g {
				return g
			}
		}
	}
	return exitFine
}

// tell writes err to stderr, a line for each of its problems, and returns the
// exit code.
func tell(stderr io.Writer, err error) int {
	code := exitCode(err)
	var exit *exitError
	if err == nil || (errors.As(err, &exit) && exit.err == nil) {
		return code
	}
	priority := ""
	if onJournal(stderr) {
		priority = journalPriority(slog.LevelError)
	}
	for _, line := range errorLines(err) {
		fmt.Fprintf(stderr, "%spopfetchd: %s\n", priority, line)
	}
	return code
}

// errorLines are the lines that tell err: one, or a line each for the problems
// of a configuration file.
func errorLines(err error) []string {
	var conf *config.Error
	if errors.As(err, &conf) {
		var lines []string
		for _, p := range conf.Problems {
			lines = append(lines, oneLine(p.String()))
		}
		return lines
	}
	line := oneLine(err.Error())
	var usage *usageError
	if errors.As(err, &usage) {
		line += "; see popfetchd --help"
	}
	return []string{line}
}

// tellPanic reports a bug: what happened in one line, the stack for the
// report's sake, and the code.
func tellPanic(stderr io.Writer, p any) int {
	fmt.Fprintf(stderr, "popfetchd: internal error: %s; please report it with the lines below\n%s", oneLine(fmt.Sprint(p)), debug.Stack())
	return exitBug
}
