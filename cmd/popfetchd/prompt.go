package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// errNotAnswered is a question that was left with Ctrl-C or Ctrl-D.
var errNotAnswered = &exitError{code: exitTemporary, err: errors.New("stopped at a question; nothing was written")}

// lineReader reads stdin by lines. A read from a terminal cannot be cancelled:
// what an abandoned one brings later is the answer to the next.
type lineReader struct {
	r       *bufio.Reader
	answers chan lineRead
	pending bool
}

type lineRead struct {
	text string
	err  error
}

// lines is the one reader of stdin.
func (a *app) lines() *lineReader {
	if a.input == nil {
		a.input = &lineReader{r: bufio.NewReader(a.stdin), answers: make(chan lineRead, 1)}
	}
	return a.input
}

// next returns the next line. One goroutine calls it at a time.
func (l *lineReader) next(ctx context.Context) (string, error) {
	if !l.pending {
		l.pending = true
		go func() {
			text, err := l.r.ReadString('\n')
			l.answers <- lineRead{text, err}
		}()
	}
	select {
	case <-ctx.Done():
		return "", errNotAnswered
	case a := <-l.answers:
		l.pending = false
		if a.err != nil && a.text == "" {
			return "", errNotAnswered
		}
		return a.text, nil
	}
}

// questions asks a person on a terminal.
type questions struct {
	in    *os.File
	lines *lineReader // of in; a terminal gives a line at a time, so it holds nothing back from secret
	out   io.Writer
	width int // columns of the terminal
}

// newQuestions asks on stdin, or returns nil where nobody sits before it.
func (a *app) newQuestions() *questions {
	if a.stdin == nil || !term.IsTerminal(int(a.stdin.Fd())) || a.json {
		return nil
	}
	return &questions{in: a.stdin, lines: a.lines(), out: a.stdout, width: a.width()}
}

// say prints a paragraph that fits the terminal, as far to the right as its
// first line begins.
func (q *questions) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	body := strings.TrimLeft(text, "\n")
	indent := body[:len(body)-len(strings.TrimLeft(body, " "))]
	fmt.Fprint(q.out, strings.Repeat("\n", len(text)-len(body)), indent, wrapped(body[len(indent):], indent, q.width))
}

// ask asks for a line until good finds nothing wrong with it. An empty answer
// is the usual one, which may be "".
func (q *questions) ask(ctx context.Context, question, usual string, good func(string) error) (string, error) {
	if usual != "" {
		question += " [" + usual + "]"
	}
	for {
		fmt.Fprintf(q.out, "%s: ", question)
		text, err := q.lines.next(ctx)
		if err != nil {
			fmt.Fprintln(q.out)
			return "", err
		}
		if text = strings.TrimSpace(text); text == "" {
			text = usual
		}
		if err := good(text); err != nil {
			q.say("  %s", oneLine(err.Error()))
			continue
		}
		return text, nil
	}
}

// yes asks a question that is answered by yes or no.
func (q *questions) yes(ctx context.Context, question string, usual bool) (bool, error) {
	word := map[bool]string{true: "yes", false: "no"}[usual]
	answer, err := q.ask(ctx, question, word, func(text string) error {
		if _, known := yesNo[strings.ToLower(text)]; !known {
			return errors.New("answer yes or no")
		}
		return nil
	})
	return yesNo[strings.ToLower(answer)], err
}

var yesNo = map[string]bool{"yes": true, "y": true, "no": false, "n": false}

// secret asks for a password, which the terminal does not show. The echo goes
// off before the question stands there, for those who paste at once.
func (q *questions) secret(ctx context.Context, question string) (string, error) {
	fd := int(q.in.Fd())
	before, err := term.GetState(fd)
	if err == nil {
		err = echoOff(fd)
	}
	if err != nil {
		return "", fmt.Errorf("hiding what is typed: %w", err)
	}
	defer term.Restore(fd, before)
	fmt.Fprintf(q.out, "%s (not shown): ", question)
	defer fmt.Fprintln(q.out)
	return await(ctx, func() (string, error) {
		text, err := term.ReadPassword(fd)
		return string(text), err
	})
}

func echoOff(fd int) error {
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, unix.TCSETS, mode)
}

// await reads an answer, and gives up with errNotAnswered when ctx or the input
// ends; the read is then left behind.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	got := make(chan lineRead, 1)
	go func() {
		text, err := read()
		got <- lineRead{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errNotAnswered
	case a := <-got:
		if a.err != nil {
			return "", errNotAnswered
		}
		return a.text, nil
	}
}
