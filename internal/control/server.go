package control

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

const (
	// maxTalks is how many clients are served at the same time; more wait.
	maxTalks = 16
	// requestTime is how long a client may take for its one line.
	requestTime = 10 * time.Second
	// writeTime is how long one may leave lines unread, as a stopped terminal does.
	writeTime = 30 * time.Second
	// acceptAgain is how long to wait when the system has no room for one more.
	acceptAgain = 10 * time.Second
)

// errEnding is why a client is left that was waiting for a run.
var errEnding = errors.New("the daemon is ending; what it stored is stored, the next one goes on from here")

// Serve answers clients until ctx ends, and closes the listener.
func Serve(ctx context.Context, l *Listener, d *daemon.Daemon, log *slog.Logger) {
	var talks sync.WaitGroup
	defer talks.Wait()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	places := make(chan struct{}, maxTalks)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() == nil {
				log.Warn("taking a call on the control socket", "error", err) // too many open files, say
			}
			select {
			case <-time.After(acceptAgain):
				<-places
				continue
			case <-ctx.Done():
				return
			}
		}
		talks.Go(func() {
			defer func() { <-places }()
			t := talk{conn: conn, daemon: d}
			if err := t.hold(ctx); err != nil && ctx.Err() == nil {
				log.Debug("a client of the control socket left", "error", err)
			}
		})
	}
}

// talk is one connection.
type talk struct {
	conn   *net.UnixConn
	daemon *daemon.Daemon
	err    error // of writing, the first
}

func (t *talk) hold(ctx context.Context) error {
	defer t.conn.Close()
	uid, err := peer(t.conn)
	if err != nil {
		return err
	}
	if uid != 0 && uid != os.Geteuid() {
		t.send(event{Refused: "only the daemon's own user and root may talk to it"})
		return t.err
	}
	want, err := t.read()
	if err != nil {
		t.send(event{Refused: err.Error()})
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends when the connection does
		_, err := io.Copy(io.Discard, t.conn)
		cancel(fmt.Errorf("the client hung up: %w", cmp.Or(err, io.EOF)))
	}()
	switch want.Do {
	case "fetch":
		t.fetch(ctx, want.Accounts)
	case "reload":
		t.reload(ctx)
	default:
		t.send(event{Refused: fmt.Sprintf("%q is nothing that this daemon can do; is it of another version?", want.Do)})
	}
	return t.err
}

// read takes the request.
func (t *talk) read() (r request, err error) {
	if err := t.conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return r, err
	}
	line, err := bufio.NewReader(io.LimitReader(t.conn, maxLine)).ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("reading the request: %w", err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("the request is no JSON: %w", err)
	}
	return r, t.conn.SetReadDeadline(time.Time{})
}

func (t *talk) send(e event) {
	if t.err != nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		err = t.conn.SetWriteDeadline(time.Now().Add(writeTime))
	}
	if err == nil {
		_, err = t.conn.Write(append(line, '\n'))
	}
	t.err = err
}

func (t *talk) fetch(ctx context.Context, names []string) {
	begun := false
	last := map[string]fetch.Progress{}
	err := t.daemon.Fetch(ctx, names, daemon.Follower{
		Accounts: func(accounts []config.Account) {
			begun = true
			e := event{}
			for _, a := range accounts {
				e.Accounts = append(e.Accounts, newAccount(a))
			}
			t.send(e)
		},
		Progress: func(name string, p fetch.Progress) {
			if before, seen := last[name]; !seen || before != p {
				last[name] = p
				t.send(event{Account: name, Progress: &p})
			}
		},
		Ended: func(name string, r fetch.Report) { t.send(event{Account: name, Report: newReport(r)}) },
		Gone:  func(name string, why error) { t.send(event{Account: name, Gone: why.Error()}) },
	})
	switch {
	case err == nil:
		t.send(event{Done: true})
	case !begun:
		t.send(event{Refused: err.Error()})
	default:
		t.send(event{Error: errEnding.Error()})
	}
}

func (t *talk) reload(ctx context.Context) {
	loaded, err := t.daemon.LoadAgain(ctx)
	file := (*config.Error)(nil)
	switch {
	case err == nil:
		t.send(event{Loaded: &Loaded{Accounts: len(loaded.Config.Accounts), Notes: loaded.Notes}, Done: true})
	case ctx.Err() != nil:
		t.send(event{Error: errEnding.Error()})
	case errors.As(err, &file):
		e := event{}
		for _, problem := range file.Problems {
			e.Problems = append(e.Problems, problem.String())
		}
		t.send(e)
	default:
		t.send(event{Problems: []string{err.Error()}})
	}
}

// doing is what was being done when a run failed.
func doing(err error) string {
	if run := (*fetch.Error)(nil); errors.As(err, &run) {
		return run.Doing
	}
	return ""
}
