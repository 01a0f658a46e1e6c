// Package control lets a command talk to the running daemon over a unix socket in the state folder: "fetch now", "read the
// configuration again". The client sends one line of JSON and gets lines of JSON until the daemon closes the connection:
//
//	→ {"do":"fetch","accounts":["joe"]}
//	← {"accounts":[{"name":"joe",…}]}                    what is going to run
//	← {"account":"joe","progress":{…}}                   as often as something changes, at most ten times a second
//	← {"account":"joe","report":{…}}                     the run has ended
//	← {"done":true}
//
//	→ {"do":"reload"}
//	← {"loaded":{"accounts":2}} or {"problems":["popfetchd.yaml:3: …"]}
//
// Nobody but the daemon's own user and root may speak: the socket has mode 0600 from its first moment, and each side looks at
// who the other one is. The lock beside it keeps a second daemon off the state folder; the kernel drops it when the process
// ends, however it ends, so a socket that was left behind is known for what it is.
package control

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// The files in the state folder.
const (
	socketName = "control.sock"
	lockName   = "control.lock"
)

// maxLine bounds a line: 500 accounts with long names in one request are 40 KB.
const maxLine = 1 << 20

// request is what a client wants.
type request struct {
	Do       string   `json:"do"`
	Accounts []string `json:"accounts,omitempty"`
}

// event is a line from the daemon.
type event struct {
	Accounts []account       `json:"accounts,omitempty"`
	Account  string          `json:"account,omitempty"`
	Progress *fetch.Progress `json:"progress,omitempty"`
	Report   *report         `json:"report,omitempty"`
	Gone     string          `json:"gone,omitempty"` // why no run of Account will come
	Loaded   *Loaded         `json:"loaded,omitempty"`
	Problems []string        `json:"problems,omitempty"` // of the configuration file
	Refused  string          `json:"refused,omitempty"`  // the request means nothing
	Error    string          `json:"error,omitempty"`
	Done     bool            `json:"done,omitempty"`
}

// Loaded is what the daemon goes on with after a reload.
type Loaded struct {
	Accounts int      `json:"accounts"`
	Notes    []string `json:"notes,omitempty"` // what else there is to know about it
}

// account is what a view has to know of one.
type account struct {
	Name     string `json:"name"`
	Provider string `json:"provider,omitempty"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
}

func newAccount(a config.Account) account { return account{a.Name, a.Provider, a.Host, a.Port} }

func (a account) account() config.Account {
	return config.Account{Name: a.Name, Provider: a.Provider, Host: a.Host, Port: a.Port}
}

// report is a fetch.Report on its way; its error goes as text.
type report struct {
	Run   plainReport `json:"run"`
	Error string      `json:"error,omitempty"`
	Doing string      `json:"doing,omitempty"`
	Kind  fetch.Kind  `json:"kind,omitempty"`
}

// plainReport goes as the fields it has.
type plainReport fetch.Report

// Failure is the error of a run in the daemon, as it arrives here.
type Failure struct {
	Kind fetch.Kind
	text string
	run  *fetch.Error
}

func (f *Failure) Error() string { return f.text }

// Unwrap returns a *fetch.Error that knows what was being done, and no more.
func (f *Failure) Unwrap() error { return f.run }

func newReport(r fetch.Report) *report {
	out := &report{Run: plainReport(r), Kind: fetch.KindOf(r.Err)}
	out.Run.Err = nil
	if r.Err != nil {
		out.Error = r.Err.Error()
		out.Doing = doing(r.Err)
	}
	return out
}

func (r *report) report() fetch.Report {
	out := fetch.Report(r.Run)
	if r.Error != "" {
		run := &fetch.Error{Account: out.Account, Doing: r.Doing, Err: fmt.Errorf("%s", r.Error), NotBefore: out.NotBefore}
		out.Err = &Failure{Kind: r.Kind, text: r.Error, run: run}
	}
	return out
}

// socket gives do a path to the socket in a state folder. Such a path may have no more than 107 octets; a longer one is
// taken by way of the open folder.
func socket(stateDir string, do func(path string) error) error {
	path := filepath.Join(stateDir, socketName)
	if len(path) < len(unix.RawSockaddrUnix{}.Path) {
		return do(path)
	}
	folder, err := os.Open(stateDir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return do(filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())), socketName))
}

// peer is the user at the other end (unix(7), SO_PEERCRED).
func peer(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	problem := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if problem != nil || err != nil {
		return 0, fmt.Errorf("asking who is there: %w", cmp.Or(problem, err))
	}
	return int(credentials.Uid), nil
}
