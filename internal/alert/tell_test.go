package alert

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

const toHook = "{ webhook: '%s/hook' }"

func want(t *testing.T, got []string, wanted ...string) {
	t.Helper()
	if len(got) != len(wanted) || len(got) > 0 && !reflect.DeepEqual(got, wanted) {
		t.Fatalf("told\n  %q, want\n  %q", got, wanted)
	}
}

func TestOneAlertAndOneAllClear(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe", "ann")
	w.ran("joe", nil)
	w.ran("ann", nil)
	w.after(time.Minute)
	want(t, h.subjects(t))
	for range 5 {
		w.ran("joe", errCertificate)
		w.after(15 * time.Minute)
	}
	want(t, h.subjects(t), "joe: the server's certificate expired")
	incidents, err := w.books.Incidents()
	if err != nil || len(incidents) != 1 || incidents[0].Kind != Certificate || incidents[0].Told.IsZero() {
		t.Fatalf("the ledger has %+v, %v", incidents, err)
	}
	w.ran("joe", errNetwork) // proves nothing
	w.after(15 * time.Minute)
	want(t, h.subjects(t))
	w.ran("joe", nil)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: fine again")
	w.ran("joe", nil)
	w.after(10 * 24 * time.Hour / 100)
	want(t, h.subjects(t))
	if incidents, err := w.books.Incidents(); err != nil || len(incidents) != 0 {
		t.Fatalf("the ledger has %+v, %v", incidents, err)
	}
}

func TestReminderAfterAWeek(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.ran("joe", errCertificate)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: the server's certificate expired")
	w.clock = w.clock.Add(7*24*time.Hour - 2*time.Minute)
	w.after(time.Minute)
	want(t, h.subjects(t))
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: still: the server's certificate expired")
	w.after(time.Hour)
	want(t, h.subjects(t))
}

func TestSilence(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe", "new")
	w.ran("joe", nil)
	w.after(time.Minute)
	for range 23 {
		w.ran("joe", errNetwork)
		w.ran("new", errNetwork)
		w.after(time.Hour)
	}
	want(t, h.subjects(t))
	w.after(time.Hour)
	want(t, h.subjects(t), "joe, new: not fetched for 24 hours")
	w.ran("joe", errCertificate) // says more than the silence did
	w.after(time.Hour)
	want(t, h.subjects(t), "joe: the server's certificate expired")
	w.ran("joe", nil)
	w.ran("new", nil)
	w.after(time.Hour)
	messages := h.messages(t)
	if len(messages) != 1 || messages[0].Event != AllClear || messages[0].Subject != "joe, new: fine again" || len(messages[0].Incidents) != 3 {
		t.Fatalf("%+v", messages)
	}
}

// A machine that was off for days fetches before it complains.
func TestSilenceAfterSleep(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.ran("joe", nil)
	w.after(time.Minute)
	for name, sleep := range map[string]func(){
		"off":       func() { w.start() },
		"suspended": func() {},
	} {
		w.clock = w.clock.Add(72 * time.Hour)
		sleep()
		w.after(10 * time.Minute)
		if told := h.subjects(t); len(told) > 0 {
			t.Fatalf("%s: told %q at once", name, told)
		}
		w.after(2 * time.Hour)
		want(t, h.subjects(t), "joe: not fetched for 3 days")
		w.ran("joe", nil)
		w.after(4 * time.Hour)
		want(t, h.subjects(t), "joe: fine again")
	}
}

func TestAlertAfterOff(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.file = "alert_after: off\n" + w.file
	w.Configure(w.config())
	w.ran("joe", errNetwork)
	w.after(48 * time.Hour)
	want(t, h.subjects(t))
}

func TestManyAccountsOneMessage(t *testing.T) {
	h := newHook(t)
	var names []string
	for n := range 40 {
		names = append(names, fmt.Sprintf("account%02d", n))
	}
	w := newWorld(t, h, toHook, names...)
	for _, name := range names {
		w.ran(name, errCertificate)
	}
	w.after(time.Minute)
	want(t, h.subjects(t), "account00, account01 and 38 more: the server's certificate expired")
	w.ran("account00", nil)
	w.ran("account01", errSecret)
	w.after(time.Minute)
	want(t, h.subjects(t), "account01: configuration cannot be used, mend it", "account00: fine again")
}

// However it goes up and down, a channel sends a few messages an hour, and each trouble comes through in the end.
func TestNoFlood(t *testing.T) {
	h := newHook(t)
	var names []string
	for n := range 60 {
		names = append(names, fmt.Sprintf("account%02d", n))
	}
	w := newWorld(t, h, toHook, names...)
	for n := range 60 {
		w.ran(names[n], errCertificate)
		w.after(time.Minute)
	}
	told := map[string]bool{}
	messages := h.messages(t)
	if len(messages) > mostInHour+1 {
		t.Errorf("%d messages in an hour", len(messages))
	}
	w.after(2 * time.Hour)
	for _, m := range append(messages, h.messages(t)...) {
		for _, name := range m.Accounts {
			if told[name] {
				t.Errorf("%s was told twice", name)
			}
			told[name] = true
		}
	}
	if len(told) != len(names) {
		t.Errorf("%d accounts were told, want %d", len(told), len(names))
	}
}

func TestComingAndGoing(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	for n := range 48 { // a day
		err := error(errCertificate)
		if n%2 == 1 {
			err = nil
		}
		w.ran("joe", err)
		w.after(30 * time.Minute)
	}
	if n := len(h.subjects(t)); n < 4 || n > 16 {
		t.Errorf("%d messages in a day", n)
	}
}

func TestChannelThatFails(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	h.answer(http.StatusServiceUnavailable)
	w.ran("joe", errCertificate)
	w.after(time.Minute)
	if incidents, err := w.books.Incidents(); err != nil || len(incidents) != 1 || !incidents[0].Told.IsZero() {
		t.Fatalf("the ledger has %+v, %v", incidents, err)
	}
	w.after(time.Hour)
	if n := w.kept.Channels["webhook"].Failures; n < 4 || n > 7 {
		t.Errorf("tried %d times within an hour", n)
	}
	w.start() // goes on where the other process was
	h.answer(http.StatusOK)
	w.after(time.Hour)
	want(t, h.subjects(t), "joe: the server's certificate expired")
	h.answer(http.StatusServiceUnavailable)
	w.ran("joe", nil)
	w.after(time.Minute)
	w.ran("joe", errCertificate) // again before anybody heard that it was over
	w.after(time.Minute)
	h.answer(http.StatusOK)
	w.after(2 * time.Hour)
	want(t, h.subjects(t))
	w.ran("joe", nil)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: fine again")
}

// What is over before anybody was told is not told.
func TestOverBeforeTold(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.ran("joe", errCertificate)
	if !w.look(t.Context(), false) {
		t.Fatal("nothing waits")
	}
	w.ran("joe", nil)
	w.after(time.Minute)
	want(t, h.subjects(t))
}

func TestRestart(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, path string){
		"kept": func(*testing.T, string) {},
		"lost": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"torn": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(`{"Seen": {"jo`), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHook(t)
			w := newWorld(t, h, toHook, "joe")
			w.ran("joe", errCertificate)
			w.after(time.Minute)
			want(t, h.subjects(t), "joe: the server's certificate expired")
			lose(t, filepath.Join(w.state, memoryName))
			w.start()
			w.ran("joe", errCertificate)
			w.after(time.Hour)
			want(t, h.subjects(t))
			w.ran("joe", nil)
			w.after(time.Minute)
			want(t, h.subjects(t), "joe: fine again")
		})
	}
}

// A new ledger knows of no incident: that is no all-clear.
func TestLedgerLost(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe", "ann")
	w.ran("joe", errCertificate)
	w.ran("ann", errCertificate)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe, ann: the server's certificate expired")
	w.books.Close()
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm"} {
		_ = os.Remove(filepath.Join(w.state, name))
	}
	var err error
	if w.books, err = ledger.Open(filepath.Join(w.state, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.after(10 * time.Minute)
	w.ran("joe", errCertificate)
	w.after(time.Minute)
	want(t, h.subjects(t))
	w.ran("joe", nil)
	w.ran("ann", nil)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe, ann: fine again")
}

// The memory is written where it lies: a disk that has filled up meanwhile keeps nobody from remembering.
func TestMemoryTakesNoRoom(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.after(time.Minute)
	look := func() (uint64, int64) {
		var s syscall.Stat_t
		if err := syscall.Stat(filepath.Join(w.state, memoryName), &s); err != nil {
			t.Fatal(err)
		}
		return s.Ino, s.Size
	}
	inode, size := look()
	w.books.Close()
	w.Ended(w.account("joe"), fetch.Report{Account: "joe", Err: errSecret})
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: configuration cannot be used, mend it")
	if i, s := look(); i != inode || s != size {
		t.Errorf("the file was inode %d of %d bytes, and is %d of %d", inode, size, i, s)
	}
	w.start()
	w.Ended(w.account("joe"), fetch.Report{Account: "joe", Err: errSecret})
	w.after(time.Minute)
	want(t, h.subjects(t))
}

// Somebody else's success ends the incident too.
func TestMendedByAnotherProcess(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.ran("joe", errCertificate)
	w.after(time.Minute)
	h.take()
	if err := w.books.Finish("joe", w.clock.Add(time.Minute), "", true); err != nil {
		t.Fatal(err)
	}
	w.after(10 * time.Minute)
	want(t, h.subjects(t), "joe: fine again")
}

func TestAccountLeavesTheFile(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe", "ann")
	w.ran("joe", errCertificate)
	w.after(time.Minute)
	h.take()
	w.file = w.file[:strings.Index(w.file, "  - { name: joe")] + w.file[strings.Index(w.file, "  - { name: ann"):]
	w.Configure(w.config())
	w.after(time.Hour)
	want(t, h.subjects(t))
	if incidents, err := w.books.Incidents(); err != nil || len(incidents) != 0 {
		t.Fatalf("the ledger has %+v, %v", incidents, err)
	}
}

// Mail that Gmail lists no more, though it never came, is told of with what brings it back.
func TestVanished(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.ran("joe", nil)
	lost := ledger.Failure{Key: ledger.Key{UID: "a", ListedSize: 5}, Reason: ledger.Vanished, Attempts: 1, Error: "is listed no more: save it again"}
	if err := w.books.Fail("joe", []ledger.Failure{lost}); err != nil {
		t.Fatal(err)
	}
	w.Ended(w.account("joe"), fetch.Report{Account: "joe"})
	w.after(time.Minute)
	messages := h.messages(t)
	if len(messages) != 1 || messages[0].Subject != "joe: 1 message could not be fetched" || !strings.Contains(messages[0].Text, lost.Error) ||
		strings.Contains(messages[0].Text, "left on the server") {
		t.Errorf("%+v", messages)
	}
}

func TestSetAside(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.ran("joe", nil)
	fail := func(failures ...ledger.Failure) {
		t.Helper()
		if err := w.books.Fail("joe", failures); err != nil {
			t.Fatal(err)
		}
		w.Ended(w.account("joe"), fetch.Report{Account: "joe", Skipped: len(failures)})
	}
	large := ledger.Failure{Key: ledger.Key{UID: "large", ListedSize: 1 << 30}, Reason: ledger.TooLarge, Error: "larger than max_message_size"}
	fail(large)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: 1 message too large, left there")
	w.after(8 * 24 * time.Hour)
	h.take() // silence; but of a message that is too large nobody is reminded
	w.ran("joe", nil)
	w.after(time.Minute)
	h.take()
	broken := ledger.Failure{Key: ledger.Key{UID: "a", ListedSize: 5}, Attempts: 5, Error: "server refused RETR 7: \"\x1b[2Jno\""}
	later := ledger.Failure{Key: ledger.Key{UID: "b", ListedSize: 5}, Attempts: 1, Error: "later", NextAt: w.clock.Add(time.Hour)}
	fail(large, broken, later)
	w.after(time.Minute)
	messages := h.messages(t)
	if len(messages) != 1 || messages[0].Subject != "joe: 2 messages could not be fetched" {
		t.Fatalf("%+v", messages)
	}
	if text := messages[0].Text; strings.Contains(text, "\x1b") || !strings.Contains(text, `\x1b[2Jno`) {
		t.Errorf("the server's text came through: %q", text)
	}
	if err := w.books.Forget("joe", []ledger.Key{large.Key, broken.Key, later.Key}); err != nil {
		t.Fatal(err)
	}
	w.ran("joe", nil)
	w.after(time.Minute)
	want(t, h.subjects(t), "joe: fine again")
}

// A server's limits pass by themselves; a run that tried nothing for them is no trouble.
func TestHeldOverQuota(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	hold := ledger.Hold{Reason: ledger.OverQuota, Since: w.clock, Until: w.clock.Add(time.Hour), Times: 1, Problem: "too much"}
	if err := errors.Join(w.books.Enroll("joe", "/nowhere"), w.books.SetHold("joe", hold)); err != nil {
		t.Fatal(err)
	}
	f := &fetch.Fetcher{Ledger: w.books, StateDir: w.state, Log: w.log, Now: w.Now}
	r := f.Run(t.Context(), w.account("joe"), nil)
	if !r.Held || r.Err == nil {
		t.Fatalf("%+v", r)
	}
	w.Ended(w.account("joe"), r)
	w.after(time.Minute)
	want(t, h.subjects(t))
}

func TestOnce(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	once := func(err error) {
		t.Helper()
		w.clock = w.clock.Add(15 * time.Minute)
		w.start()
		w.ran("joe", err)
		w.Once(t.Context())
	}
	once(nil)
	w.clock = w.clock.Add(72 * time.Hour)
	once(errNetwork) // the machine was off: one failure says nothing
	want(t, h.subjects(t))
	once(errNetwork)
	want(t, h.subjects(t), "joe: not fetched for 3 days")
	once(errNetwork)
	want(t, h.subjects(t))
	once(errCertificate)
	want(t, h.subjects(t), "joe: the server's certificate expired")
	once(nil)
	want(t, h.subjects(t), "joe: fine again")
	once(nil)
	want(t, h.subjects(t))
}

func TestConfigurationAndLedger(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	w.after(time.Minute)
	w.Reloaded(errSecret)
	w.after(time.Minute)
	want(t, h.subjects(t), "popfetchd: configuration cannot be used, mend it")
	w.Reloaded(nil)
	w.after(time.Minute)
	want(t, h.subjects(t), "popfetchd: fine again")

	broken := New(w.config(), nil, w.log) // as a daemon that cannot open its ledger, again and again
	broken.Now = w.Now
	for range 3 {
		broken.Broken(fmt.Errorf("opening: %w", ledger.ErrDamaged))
		broken.Once(t.Context())
		broken = New(w.config(), nil, w.log)
		broken.Now = w.Now
	}
	want(t, h.subjects(t), "popfetchd: ledger damaged, bring back a backup")
	w.start()
	w.after(time.Minute)
	want(t, h.subjects(t), "popfetchd: fine again")
}

// Where nothing can be written, neither ledger nor file, the process at least remembers.
func TestNothingCanBeRemembered(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, toHook, "joe")
	t.Setenv("TMPDIR", "/dev/null")
	w.Alerter.stateDir = "/dev/null"
	w.Alerter.books = nil
	for range 3 {
		w.Ended(w.account("joe"), fetch.Report{Account: "joe", Err: errSecret})
		w.after(time.Hour)
	}
	want(t, h.subjects(t), "joe: configuration cannot be used, mend it")
	w.Ended(w.account("joe"), fetch.Report{Account: "joe"})
	w.after(time.Hour)
	want(t, h.subjects(t), "joe: fine again")
}
