package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"popfetchd": main})
}

// TestScripts runs testdata/*.txtar, which read as a manual. Besides
// testscript's own commands they have:
//
//	server NAME [n=MESSAGES] [user=NAME] [pass=PASSWORD] [tls=implicit|none] [cert=expired|wrong] [gmail=WINDOW] [microsoft=yes] [oauth=NAME]
//	                      starts a POP3 server with one account and writes
//	                      NAME.pem and NAME.password; sets $NAME (host:port) and $NAME_port; with gmail it behaves as
//	                      Gmail with a window of that many conversations, with oauth it takes that server's tokens
//	oauthserver NAME [user=ADDRESS] [pop=SERVER]   starts a server for signing in, with the client client-NAME; sets
//	                      $NAME (its address); with pop its Gmail API is about that server's account
//	oauth NAME expire|revoke|fail PATH|well   ends access tokens, ends sign-ins, fails at PATH, is well again
//	consent FILE [deny]   goes through the consent page whose address is in FILE; page.html gets what the browser shows then
//	talk CODE COLUMNS SCREEN FILE COMMAND …   plays FILE to a command on a terminal, see talk_test.go
//	silent STORE FILE …   no FILE holds a token that STORE, an account's sign-in, holds
//	deliver NAME SUBJECT [UID]   puts one more message there
//	holds NAME N          the server has N messages now
//	fault NAME COMMAND TEXT   COMMAND (LOGIN: any way to log in) is refused with -ERR TEXT from now on, in which \x1b
//	                      is an escape; TEXT hangup cuts the line, TEXT stall says nothing more
//	struck NAME           waits until the fault's COMMAND came
//	visited NAME N        waits until N sessions ended with QUIT
//	start FILE COMMAND …  runs a command in the background; what it writes goes to FILE
//	logged FILE PATTERN   waits until FILE has the pattern
//	signal NAME [FILE]    sends SIGNAME to the command in the background that was started last, or writes to FILE
//	ends CODE [FILE]      waits for its end with CODE, -1 after a signal
//	manager FILE          takes what services tell systemd, and writes it to FILE; sets $NOTIFY_SOCKET
//	expand FILE           replaces $VAR in FILE by the script's variables
//	exits CODE COMMAND …  runs a command that must end with CODE
//	unprivileged CODE …   the same without root's right to write everywhere
//	onterminal COLUMNS FILE COMMAND …   the same with exit code 0, stdout on a terminal of that width; what it shows at last goes to FILE
//	keys FILE KEY …       each line of FILE is a JSON object with exactly these keys in this order
//	files DIR N           DIR holds N files
//	flip FILE OFFSET      changes one byte
//	sql LEDGER STATEMENT  changes a ledger as popfetchd would not
//	join FILE PART…       makes FILE of the parts, one behind the other
//	damage HOW DIR N      flips a bit of, cuts short or removes the Nth file of DIR
//	damage move DIR N TO  moves it to another folder
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":       cmdServer,
			"deliver":      cmdDeliver,
			"holds":        cmdHolds,
			"fault":        cmdFault,
			"struck":       cmdStruck,
			"visited":      cmdVisited,
			"start":        cmdStart,
			"logged":       cmdLogged,
			"signal":       cmdSignal,
			"ends":         cmdEnds,
			"manager":      cmdManager,
			"expand":       cmdExpand,
			"exits":        cmdExits,
			"unprivileged": cmdUnprivileged,
			"onterminal":   cmdOnTerminal,
			"keys":         cmdKeys,
			"files":        cmdFiles,
			"flip":         cmdFlip,
			"damage":       cmdDamage,
			"sql":          cmdSQL,
			"join":         cmdJoin,
			"oauthserver":  cmdOAuthServer,
			"oauth":        cmdOAuth,
			"consent":      cmdConsent,
			"talk":         cmdTalk,
			"silent":       cmdSilent,
		},
	})
}

func setup(env *testscript.Env) error {
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/xdg")
	env.Setenv("XDG_STATE_HOME", env.WorkDir+"/xdg-state")
	env.Setenv("STATE_DIRECTORY", "")
	env.Setenv("LANG", "C.UTF-8")
	env.Setenv("TERM", "xterm")
	env.Setenv("TZ", "UTC")
	env.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each program would linger for a second
	env.Setenv("DISPLAY", "")                 // nobody's browser opens
	env.Setenv("WAYLAND_DISPLAY", "")
	env.Setenv("BROWSER", "")
	env.Values[serversKey{}] = servers{}
	env.Values[oauthKey{}] = oauthServers{}
	env.Values[startedKey{}] = &started{byFile: map[string]*exec.Cmd{}}
	return nil
}

// need ends the script with how a command is used, unless ok.
func need(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 0, "expand FILE…")
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
		ts.Check(os.Chmod(ts.MkAbs(file), 0o600))
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "exits CODE COMMAND…")
	wantCode(ts, number(ts, args[0]), ts.Exec(args[1], args[2:]...))
}

func cmdUnprivileged(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "unprivileged CODE COMMAND…")
	if os.Geteuid() == 0 {
		args = append([]string{args[0], "setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"}, args[1:]...)
	}
	cmdExits(ts, neg, args)
}

// wantCode ends the script unless err is an exit with that code.
func wantCode(ts *testscript.TestScript, code int, err error) {
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != code {
		ts.Fatalf("exit code %d, want %d", got, code)
	}
}

func cmdKeys(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "keys FILE KEY…")
	text := strings.TrimRight(ts.ReadFile(args[0]), "\n")
	for line := range strings.SplitSeq(text, "\n") {
		got, err := objectKeys([]byte(line))
		if err != nil {
			ts.Fatalf("%s: %v", line, err)
		}
		if !slices.Equal(got, args[1:]) {
			ts.Fatalf("%s: keys %q, want %q", line, got, args[1:])
		}
	}
}

// objectKeys are the keys of the JSON object that text is, in order.
func objectKeys(text []byte) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("begins with %v, want an object: %w", t, err)
	}
	var keys []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		keys = append(keys, t.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("more than one value on the line")
	}
	return keys, nil
}

func cmdFiles(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "files DIR N")
	list, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(list) != number(ts, args[1]) {
		ts.Fatalf("%s holds %d files, want %s", args[0], len(list), args[1])
	}
}

func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "flip FILE OFFSET")
	b := []byte(ts.ReadFile(args[0]))
	b[number(ts, args[1])] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "sql LEDGER STATEMENT")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}

func cmdJoin(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "join FILE PART…")
	var all strings.Builder
	for _, part := range args[1:] {
		all.WriteString(ts.ReadFile(part))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(all.String()), 0o600))
}

func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && (len(args) == 3 || len(args) == 4 && args[0] == "move"), "damage flip|cut|remove|move DIR N [TO]")
	dir := ts.MkAbs(args[1])
	list, err := os.ReadDir(dir)
	ts.Check(err)
	file := filepath.Join(dir, list[number(ts, args[2])].Name())
	switch args[0] {
	case "flip":
		cmdFlip(ts, false, []string{file, "5"})
	case "cut":
		ts.Check(os.Truncate(file, 20))
	case "remove":
		ts.Check(os.Remove(file))
	case "move":
		ts.Check(os.Rename(file, filepath.Join(ts.MkAbs(args[3]), filepath.Base(file))))
	}
}
