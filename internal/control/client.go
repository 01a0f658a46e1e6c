package control

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
)

// ErrNotRunning says that no daemon has the state folder.
var ErrNotRunning = errors.New("no popfetchd is running")

// ConfigError is the mistakes because of which the daemon did not take a configuration.
type ConfigError struct{ Problems []string }

func (e *ConfigError) Error() string {
	return "the configuration has mistakes: " + strings.Join(e.Problems, "; ")
}

// RefusedError is a request that the daemon does not carry out, such as one for an account that it does not have.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// Client talks to the daemon, for one request.
type Client struct{ conn *net.UnixConn }

// Dial finds the daemon that has a state folder. ErrNotRunning says that there is none.
func Dial(ctx context.Context, stateDir string) (*Client, error) {
	var conn net.Conn
	err := socket(stateDir, func(path string) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
		return err
	})
	path := filepath.Join(stateDir, socketName)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w with the state folder %s", ErrNotRunning, stateDir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the daemon belongs to another user: %s: %w; call this as that user or as root", path, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("talking to the daemon: %w", err)
	}
	c := &Client{conn.(*net.UnixConn)}
	if err := c.trust(stateDir); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// trust makes sure that the other end is the daemon's: root, this user, or the one that the state folder belongs to.
func (c *Client) trust(stateDir string) error {
	uid, err := peer(c.conn)
	if err != nil {
		return err
	}
	info, err := os.Stat(stateDir)
	if err != nil {
		return err
	}
	return judge(uid, os.Geteuid(), int(info.Sys().(*syscall.Stat_t).Uid), stateDir)
}

func judge(other, self, owner int, stateDir string) error {
	if other == 0 || other == self || other == owner {
		return nil
	}
	return fmt.Errorf("a process of user %d listens in the state folder %s, which belongs to user %d: that is not the daemon", other, stateDir, owner)
}

// Close hangs up.
func (c *Client) Close() error { return c.conn.Close() }

// Reload has the daemon read its configuration again. A *ConfigError says that nothing was changed, and why.
func (c *Client) Reload(ctx context.Context) (loaded Loaded, err error) {
	err = c.ask(ctx, request{Do: "reload"}, func(e event) {
		if e.Loaded != nil {
			loaded = *e.Loaded
		}
	})
	return loaded, err
}

// Fetch has the daemon fetch these accounts now, all without a name, and follows their runs to their end. Errors of runs
// arrive as *Failure. The accounts that f is told of are known by name, provider and server only.
func (c *Client) Fetch(ctx context.Context, accounts []string, f daemon.Follower) error {
	return c.ask(ctx, request{Do: "fetch", Accounts: accounts}, func(e event) {
		switch {
		case len(e.Accounts) > 0:
			var all []config.Account
			for _, a := range e.Accounts {
				all = append(all, a.account())
			}
			f.Accounts(all)
		case e.Progress != nil:
			f.Progress(e.Account, *e.Progress)
		case e.Report != nil:
			f.Ended(e.Account, e.Report.report())
		case e.Gone != "":
			f.Gone(e.Account, errors.New(e.Gone))
		}
	})
}

// ask sends the request and hands over what comes, until the daemon says that this was all.
func (c *Client) ask(ctx context.Context, r request, got func(event)) error {
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return lost(ctx, err)
	}
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("the daemon sent what is no JSON: %w; is it of another version?", err)
		}
		switch {
		case e.Refused != "":
			return &RefusedError{e.Refused}
		case len(e.Problems) > 0:
			return &ConfigError{e.Problems}
		case e.Error != "":
			return errors.New(e.Error)
		}
		got(e)
		if e.Done {
			return nil
		}
	}
	return lost(ctx, cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// lost is why a talk ended early.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the daemon hung up: %w", err)
}
