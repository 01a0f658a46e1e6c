package gmail

import (
	"bytes"
	"cmp"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

const (
	username    = "joe@gmail.com"
	appPassword = "abcd efgh ijkl mnop"
)

// setting is everything that a test may choose.
type setting struct {
	volume    volume
	box       popsim.GmailBox
	kind      string        // "maildir" or "mbox"
	policy    string        // of the file, which need not be what Gmail is set to
	recent    bool          // recent mode
	oauth     bool          // a token rather than an app password
	tokenLife time.Duration // 0: an hour
	quota     int64         // of the server, in a day
	wrongBy   int64         // what the sizes are too large, in all listings
	keys      []string      // more of the file
}

func (s setting) String() string {
	disposition := s.box.Disposition
	if disposition == "" {
		disposition = popsim.LeaveInInbox
	}
	auth := "password"
	if s.oauth {
		auth = "xoauth2"
	}
	text := fmt.Sprintf("%s, policy %s, Gmail set to %s, %s", s.kind, s.policy, disposition, auth)
	if s.recent {
		text += ", recent mode"
	}
	if s.wrongBy != 0 {
		text += fmt.Sprintf(", sizes wrong by %d", s.wrongBy)
	}
	knobs := reflect.ValueOf(s.box.Knobs)
	for i := range knobs.NumField() {
		if f := knobs.Field(i); !f.IsZero() {
			text += fmt.Sprintf(", %s %v", knobs.Type().Field(i).Name, f)
		}
	}
	return text
}

// listedSize is wrong, but nothing is nothing.
func (s setting) listedSize(m popsim.Message) int64 {
	if size := m.Octets(); size > 0 {
		return max(1, size+s.wrongBy)
	}
	return 0
}

// world is a Gmail account and a program that fetches it.
type world struct {
	*testing.T
	setting
	random  *rand.Rand
	account *popsim.Account
	server  *popsim.Server
	signIn  *oauthsim.Server // nil with an app password
	program program.Account
	shelf   shelf
	offered map[string]sum // all that Gmail has listed ever, or would, by UID
	sums    map[string]sum // of all messages

	runs, killed, vanished int
	history                []string // of the runs

	mu    sync.Mutex
	ahead time.Duration // of the real time, Gmail's is: time passes when a test says so
	deles int           // in recent mode, or where the policy is not to delete
}

// newWorld delivers the mail and signs in.
func newWorld(t *testing.T, random *rand.Rand, s setting) *world {
	t.Helper()
	w := &world{T: t, setting: s, random: random, offered: map[string]sum{}, sums: map[string]sum{}}
	s.box.Now = w.now
	w.account = &popsim.Account{Username: username, Password: strings.ReplaceAll(appPassword, " ", ""), Gmail: &s.box}
	for _, m := range mail(random, s.volume, w.now()) {
		w.deliver(m)
	}
	c := popsim.Config{Accounts: []*popsim.Account{w.account}, Pipelining: true, DailyOctets: s.quota, Watch: w.watch}
	if s.wrongBy != 0 {
		c.ListedSize = s.listedSize
	}
	if s.oauth {
		w.startSignIn()
		c.Token = w.signIn.Valid
	}
	server, err := popsim.Start("127.0.0.1:0", c)
	w.must(err)
	t.Cleanup(func() { server.Close() })
	w.server = server
	dir := t.TempDir()
	w.program = program.Account{Dir: dir, Kind: s.kind, Mailbox: filepath.Join(dir, "mail", "inbox")}
	w.configure(s.keys...)
	w.shelf = newShelf(w.program)
	w.storeToken()
	w.note()
	t.Cleanup(func() {
		if t.Failed() || *full {
			t.Logf("%s", strings.Join(w.history, ""))
		}
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// now is Gmail's time.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

// startSignIn starts what plays Google.
func (w *world) startSignIn() {
	w.Helper()
	signIn, err := oauthsim.Start("127.0.0.1:0", oauthsim.Config{ClientID: "client", Username: username, TokenLife: w.tokenLife, Now: w.now})
	w.must(err)
	w.Cleanup(func() { signIn.Close() })
	w.signIn = signIn
}

// storeToken is what popfetchd login comes to.
func (w *world) storeToken() {
	w.Helper()
	if w.signIn == nil {
		return
	}
	access, refresh := w.signIn.Grant()
	token := oauth.Token{Access: access, Refresh: refresh, Issued: time.Now(), Expiry: time.Now().Add(w.tokenLife)}
	w.must(oauth.Store{Path: oauth.StorePath(filepath.Join(w.program.Dir, "state"), "test")}.Save(token))
}

// configure writes the program's file.
func (w *world) configure(keys ...string) {
	w.Helper()
	dir := w.program.Dir
	ca := filepath.Join(dir, "ca.pem")
	w.must(os.WriteFile(ca, w.server.CACertificate(), 0o600))
	w.must(os.WriteFile(filepath.Join(dir, "password"), []byte(appPassword+"\n"), 0o600))
	lines := []string{"provider: gmail", "host: 127.0.0.1", fmt.Sprintf("port: %d", w.server.Addr().(*net.TCPAddr).Port), "ca_file: " + ca,
		"username: " + username, "policy: " + w.policy, w.kind + ": " + w.program.Mailbox, fmt.Sprintf("recent: %v", w.recent)}
	if w.signIn == nil {
		lines = append(lines, "password_file: "+dir+"/password")
	} else {
		url := w.signIn.URL()
		lines = append(lines, "auth: xoauth2", fmt.Sprintf("oauth: {client_id: client, auth_url: %s/auth, token_url: %s/token}", url, url))
	}
	text := "state_dir: " + dir + "/state\naccounts:\n  - name: test\n    " + strings.Join(append(lines, keys...), "\n    ") + "\n"
	w.must(os.WriteFile(w.program.Config(), []byte(text), 0o600))
}

// watch looks at each session's end.
func (w *world) watch(e popsim.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind == popsim.Left && (e.Recent || w.policy != "delete") {
		w.deles += e.Deleted
	}
}

// once runs the program to its end, with a trouble or without, and looks at what came of it.
func (w *world) once(troubles trials) program.Outcome {
	w.Helper()
	w.note()
	command := w.program.Command("--once")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	started := make(chan struct{})
	w.server.SetFault(troubles.begin(w, func() {
		<-started
		command.Process.Kill()
	}))
	w.must(command.Start())
	close(started)
	patience := time.AfterFunc(10*time.Minute, func() { command.Process.Kill() })
	command.Wait()
	patience.Stop()
	w.server.SetFault(nil)
	if w.signIn != nil {
		w.signIn.ClearFaults()
	}
	w.runs++
	o := program.Outcome{Code: command.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	killed := o.Code == -1
	if killed {
		w.killed++
	}
	switch {
	case o.Code == 0, o.Code == 75, killed && troubles.kill():
	default:
		w.Fatalf("%s: after %v: exit code %d\n%s", w.setting, troubles, o.Code, o.Stderr)
	}
	w.note()
	w.shelf.read(w.T, killed, w.ours)
	w.history = append(w.history, fmt.Sprintf("%v: exit code %d, %d here, %d waiting\n%s", troubles, o.Code, program.Count(w.shelf.contents()),
		w.account.Counts().Waiting, o.Stderr))
	w.nothingTwice(troubles)
	w.nothingPoppedUnstored(troubles)
	return o
}

// succeed is a run that has to end well.
func (w *world) succeed() {
	w.Helper()
	if o := w.once(nil); o.Code != 0 {
		w.Fatalf("%s: exit code %d\n%s", w.setting, o.Code, o.Stderr)
	}
}

// note keeps in mind what is on offer now.
func (w *world) note() {
	offered := w.account.Offered()
	if w.recent {
		offered = w.inRecentMode()
	}
	for _, m := range offered {
		w.offered[m.UID] = w.sums[m.UID]
	}
	for uid, content := range w.sums { // listed in the middle of a run
		if w.account.Retrieved(uid) > 0 {
			w.offered[uid] = content
		}
	}
}

func (w *world) deliver(m popsim.Message) { w.sums[w.account.Deliver(m)] = contentOf(m) }

// want is what has to be here in the end.
func (w *world) want() program.Contents {
	want := program.Contents{}
	for _, content := range w.offered {
		want[content]++
	}
	return want
}

// ours tells whether a message was offered.
func (w *world) ours(content sum) bool { return w.want()[content] > 0 }

// inRecentMode is what it lists.
func (w *world) inRecentMode() (all []popsim.Message) {
	hidden := popsim.InSpam | popsim.InTrash | popsim.InChats
	if !w.box.Knobs.ListDrafts {
		hidden |= popsim.InDrafts
	}
	since := w.now().Add(-30 * day)
	for _, m := range w.account.Messages() {
		if !m.Labels.Has(hidden) && !m.Received.Before(since) {
			all = append(all, m)
		}
	}
	if n := w.box.Knobs.RecentWindow; n > 0 {
		all = lastConversations(all, n, w.box.Knobs.WindowCuts)
	}
	return all
}

// nothingTwice holds that nothing is here that was not offered, or more than once.
func (w *world) nothingTwice(after trials) {
	w.Helper()
	if _, more := w.shelf.contents().Against(w.want()); more > 0 {
		w.Fatalf("%s: after %v: %d messages too many", w.setting, after, more)
	}
}

// nothingPoppedUnstored holds that what Gmail takes as fetched is here. Should Gmail count a message as soon as it is asked
// for, that is beyond any client: then such messages are only counted.
func (w *world) nothingPoppedUnstored(after trials) {
	w.Helper()
	missing := w.poppedUnstored()
	if !w.box.Knobs.PopOnRETR && missing > 0 {
		w.Fatalf("%s: after %v: %d messages are popped and not stored", w.setting, after, missing)
	}
	w.vanished = max(w.vanished, missing)
}

func (w *world) poppedUnstored() (missing int) {
	here := w.shelf.contents()
	for _, m := range w.account.Messages() {
		content, offered := w.offered[m.UID]
		if !m.Popped || !offered || m.ViaSMTP && w.recent { // the last were popped when they were sent
			continue
		}
		if here[content] == 0 {
			missing++
		}
		here[content]--
	}
	return missing
}

// whole holds that all is here that was ever offered, once.
func (w *world) whole() {
	w.Helper()
	if lost, more := w.shelf.contents().Against(w.want()); lost+more > 0 {
		w.Fatalf("%s: of %d messages %d are not here, and %d are here that should not", w.setting, len(w.offered), lost, more)
	}
	if w.deles > 0 {
		w.Errorf("%s: %d DELEs", w.setting, w.deles)
	}
}

// settle lets the troubles end: the user takes up what was set aside, and the next run brings all that is left; where Gmail
// wants time between, the next ones do. The one after it has nothing to do.
func (w *world) settle() {
	w.Helper()
	w.pass(25 * time.Hour)
	w.program.Must(w.T, "retry", "test")
	for range w.patience() {
		w.once(nil)
		w.pass(25 * time.Hour)
	}
	if missing := w.poppedUnstored(); missing > 0 { // by RETR: the program has said what to do
		if w.rescuable() {
			w.Fatalf("%s: %d messages are popped and not stored, and recent mode has them", w.setting, missing)
		}
		w.account.SaveSettings(popsim.AllMail, "")
		for range w.patience() {
			w.once(nil)
			w.pass(25 * time.Hour)
		}
	}
	w.whole()
	before := w.sent()
	w.succeed()
	if after := w.sent(); after != before {
		w.Errorf("%s: a run with nothing to do asked for %d messages", w.setting, after-before)
	}
	if o := w.program.Must(w.T, "verify", "--read"); o == "" {
		w.Error("verify says nothing")
	}
	w.whole()
	w.prove()
}

// rescuable tells whether recent mode shows whatever normal mode hides.
func (w *world) rescuable() bool {
	k := w.box.Knobs
	return w.volume.years < 25./365 && k.RecentWindow == 0 && !(w.oauth && k.RecentNoToken)
}

// patience is how many runs it may take to get all there is.
func (w *world) patience() int {
	n := 1
	if w.box.Knobs.EnforceLoginDelay { // one session each
		n += 2 + w.volume.conversations/cmp.Or(w.box.Window, popsim.DefaultWindow)
	}
	if w.box.Knobs.EnforceLoginDelay && w.box.Knobs.PopOnRETR { // what vanished is sought by a run of its own
		n += 3
	}
	if w.quota > 0 {
		n += w.days()
	}
	return n
}

// days is how many days the server's quota makes of it.
func (w *world) days() int {
	octets := int64(0)
	for _, m := range w.account.Messages() {
		octets += m.Octets()
	}
	return 1 + int(octets/w.quota)
}

// prove says what was proven.
func (w *world) prove() {
	w.Helper()
	proven.add(w)
	w.Logf("%d of %d messages here; %d runs, %d of them killed, %d sessions, %d RETRs; lost 0, twice 0, popped and not stored %d: %s",
		len(w.offered), len(w.account.Messages()), w.runs, w.killed, w.account.Sessions(), w.sent(), w.vanished, w.setting)
}

// sent is how many messages were sent whole.
func (w *world) sent() (n int) {
	for _, m := range w.account.Messages() {
		n += w.account.Retrieved(m.UID)
	}
	return n
}

// pass lets time pass, for Gmail and for the program: what is in its ledger is that much longer ago.
func (w *world) pass(d time.Duration) {
	w.Helper()
	w.mu.Lock()
	w.ahead += d
	w.mu.Unlock()
	path := filepath.Join(w.program.Dir, "state", "ledger.db")
	if _, err := os.Stat(path); err != nil {
		return
	}
	ledger, err := sql.Open("sqlite", path)
	w.must(err)
	defer ledger.Close()
	for _, column := range []string{"failures SET next_at = next_at", "holds SET until = until", "holds SET since = since", "traffic SET at = at", "notes SET at = at"} {
		_, err := ledger.Exec("UPDATE "+column+" - ?", int64(d.Seconds()))
		w.must(err)
	}
}
