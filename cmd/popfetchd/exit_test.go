package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

func TestGravest(t *testing.T) {
	for _, test := range []struct {
		codes []int
		want  int
	}{
		{nil, 0},
		{[]int{0, 0}, 0},
		{[]int{75, 0, 77}, 77},
		{[]int{75, 70, 74}, 74},
		{[]int{75, 70}, 70},
		{[]int{77, 74, 78, 75}, 78},
		{[]int{65, 0}, 65},
		{[]int{65, 75}, 65},
		{[]int{65, 74}, 74},
	} {
		if got := gravest(test.codes); got != test.want {
			t.Errorf("gravest(%v) = %d, want %d", test.codes, got, test.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{usagef("what"), 64},
		{&exitError{code: 65}, 65},
		{fmt.Errorf("loading: %w", &config.Error{}), 78},
		{fmt.Errorf("account x: %w", &config.SecretError{}), 78},
		{&ledger.Error{Path: "x", Op: "opening", Err: fs.ErrPermission}, 74},
		{&ledger.Error{Path: "x", Op: "opening", Err: ledger.ErrBusy}, 75},
		{&store.Error{Op: "opening", Path: "x", Err: fs.ErrPermission}, 74},
		{errors.New("out of the blue"), 70},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

// A panic is told in one line with the stack below, and is exit code 70.
func TestPanic(t *testing.T) {
	var stderr bytes.Buffer
	if code := tellPanic(&stderr, "index\nout of range"); code != 70 {
		t.Errorf("code %d, want 70", code)
	}
	first, rest, _ := strings.Cut(stderr.String(), "\n")
	if want := `popfetchd: internal error: index\nout of range; please report it with the lines below`; first != want {
		t.Errorf("first line %q, want %q", first, want)
	}
	if !strings.Contains(rest, "goroutine ") {
		t.Errorf("no stack: %q", rest)
	}
}
