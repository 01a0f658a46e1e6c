package fetch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/store"
)

// A ledger that was lost is made anew from a Maildir: nothing is fetched again, wherever a mail reader put it.
func TestLostLedger(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliverN(20)
	w.deliver("same", "one")
	w.deliver("same", "two")
	all := w.account.Messages()
	w.succeed(fetch.Report{Listed: 22, New: 22, Stored: 22})
	w.readSome()
	w.loseLedger()
	a := w.deliver("new", "x")
	w.succeed(fetch.Report{Listed: 23, New: 1, Stored: 1})
	w.holds(append(all, a)...)
	w.succeed(fetch.Report{Listed: 23})
}

// Mail that was filed in subfolders of the Maildir is known by its content, once it was fetched.
func TestLostLedgerOfFiledMail(t *testing.T) {
	w, all := stored(t, 5)
	for i, m := range all {
		w.fileIn([]string{".Archive", ".Lists.go"}[i%2], m)
	}
	w.loseLedger()
	w.deliver("new", "x")
	w.succeed(fetch.Report{Listed: 6, New: 1, Stored: 1})
	w.retrieved(map[string]int{"0": 2, "1": 2, "4": 2, "new": 1})
	w.verified(1, fetch.Verification{Checked: 6, Read: 6})
	w.noLeftovers()
	w.repair(fetch.Repaired{})
	w.quietly(fetch.Report{Listed: 6})
}

// quietly succeeds without fetching anything.
func (w *world) quietly(want fetch.Report) {
	w.Helper()
	w.server.SetFault(popsim.On("RETR", 0, popsim.Refuse("nothing is to be fetched")))
	w.succeed(want)
	w.mend()
}

// Its name alone proves nothing: a server may have used its UID again since, also for a message of the same size.
func TestLostLedgerAndReusedUID(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	old := w.deliver("1", "aaa")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	w.fileIn(".Archive", old)
	w.loseLedger()
	fresh := w.deliver("1", "bbb")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	w.boxHolds(w.box, fresh)
	w.boxHolds(filepath.Join(w.box, ".Archive"), old)
}

// A subfolder that cannot be looked through stops neither a run nor a repair.
func TestOddSubfolder(t *testing.T) {
	w, _ := stored(t, 3)
	w.must(os.MkdirAll(filepath.Join(w.box, ".odd"), 0o700))
	w.must(os.WriteFile(filepath.Join(w.box, ".odd", "new"), nil, 0o600))
	w.loseLedger()
	w.succeed(fetch.Report{Listed: 3})
	w.repair(fetch.Repaired{})
	w.verified(1, fetch.Verification{Checked: 3, Read: 3})
}

// A file is one message's, also when the server lists another size for a day.
func TestSizesThatGoAndComeBack(t *testing.T) {
	less := int64(0)
	w := newWorld(t, popsim.Config{ListedSize: func(m popsim.Message) int64 { return m.Octets() - less }})
	m := w.deliver("1", "text")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	for _, less = range []int64{3, 0, 3} {
		w.succeed(fetch.Report{Listed: 1})
		w.verified(1, fetch.Verification{Checked: 1, Read: 1})
	}
	w.boxHolds(w.box, m)
}

// fileIn moves a message to a subfolder of the Maildir, as mail readers do.
func (w *world) fileIn(folder string, m popsim.Message) {
	w.Helper()
	from, to := w.file(m), filepath.Join(w.box, folder, "cur")
	w.must(os.MkdirAll(to, 0o700))
	w.must(os.Rename(from, filepath.Join(to, filepath.Base(from)+":2,S")))
}

// Also where the path changes with the month.
func TestLostLedgerOfManyMaildirs(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "maildir: '[a*] %% %Y-%m'")
	w.now = time.Date(2026, 1, 15, 12, 0, 0, 0, time.Local)
	for month := range 3 {
		w.deliver(fmt.Sprint(month), "x")
		w.succeed(fetch.Report{Listed: month + 1, New: 1, Stored: 1})
		w.pass(31 * 24 * time.Hour)
	}
	w.loseLedger()
	w.succeed(fetch.Report{Listed: 3})
	w.retrieved(map[string]int{"0": 1, "1": 1, "2": 1})
	v, err := w.fetcher.Verify(t.Context(), w.config(), 1)
	if err != nil || !v.OK() || v.Checked != 3 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// To a new ledger the messages of an mbox are known by their headers, or, without TOP and before deletions, by their
// content. Mail of others that lies there stays what it is.
func TestLostLedgerOfMbox(t *testing.T) {
	for name, test := range map[string]struct {
		policy string
		fault  popsim.Fault
		sent   int // how often each message was sent in the end
	}{
		"by header":                       {"policy: keep", nil, 1},
		"by content":                      {"policy: keep", popsim.On("TOP", 0, popsim.Refuse("what?")), 2},
		"by content, and deleted by that": {"policy: delete", nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{Pipelining: true}, "mbox: mail", test.policy)
			w.deliverN(5)
			all := w.account.Messages()
			w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
			w.run()
			w.loseLedger()
			file, err := os.OpenFile(w.box, os.O_APPEND|os.O_WRONLY, 0)
			w.must(err)
			_, err = file.WriteString("From other Sat Jan  1 00:00:00 2026\nSubject: from another\n\ntext\n\n")
			w.must(err)
			w.must(file.Close())
			other := popsim.Message{Body: []byte("Subject: from another\r\n\r\ntext\r\n")}
			w.server.SetFault(test.fault)
			a := w.deliver("new", "x")
			want := fetch.Report{Listed: 6, New: 1, Stored: 1}
			if test.policy == "policy: delete" {
				want.Deleted = 6
			}
			w.succeed(want)
			w.boxHolds(w.box, append(all, a, other)...)
			w.retrieved(map[string]int{"0": test.sent, "4": test.sent, "new": 1})
			if n := w.summary().Messages; n != 6 {
				t.Errorf("the ledger knows %d messages, want 6", n)
			}
			w.mend()
			want.Deleted, want.New, want.Stored = 0, 0, 0
			if test.policy == "policy: delete" {
				want.Listed = 0
			}
			w.succeed(want)
		})
	}
}

// loseLedger removes the state folder and begins a new one.
func (w *world) loseLedger() {
	w.Helper()
	w.must(w.ledger.Close())
	w.must(os.RemoveAll(w.state))
	w.must(os.Mkdir(w.state, 0o700))
	w.open()
}

// The mailbox is searched by the first run that gets far enough, not only by the first.
func TestKilledThenNoServer(t *testing.T) {
	for name, trouble := range map[string]popsim.Fault{
		"login": popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] no")),
		"list":  popsim.On("LIST", 0, popsim.HangUp()),
		"empty": popsim.On("STAT", 0, popsim.Raw("+OK 0 0\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "policy: delete")
			a := w.deliver("a", "0")
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
			b := w.deliver("b", "1")
			w.storeByHand(b)
			w.server.SetFault(trouble)
			w.run()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			w.runIn(ctx)
			w.mend()
			w.succeed(fetch.Report{Listed: 1, Deleted: 1})
			w.retrieved(map[string]int{"b": 0})
			w.holds(a, b)
			w.noLeftovers()
		})
	}
}

// readSome moves some of a Maildir's messages to cur, as mail readers do.
func (w *world) readSome() {
	w.Helper()
	entries, err := os.ReadDir(filepath.Join(w.box, "new"))
	w.must(err)
	for i, entry := range entries {
		if i%3 == 0 {
			w.must(os.Rename(filepath.Join(w.box, "new", entry.Name()), filepath.Join(w.box, "cur", entry.Name()+":2,FS")))
		}
	}
}

// storeByHand does what a run does up to the commit, and then nothing more, as if it had been killed.
func (w *world) storeByHand(messages ...popsim.Message) store.Intent {
	w.Helper()
	w.must(w.ledger.Enroll("joe", w.box))
	w.must(w.ledger.Unsettle("joe", w.box))
	o := store.Options{Account: "joe", SpoolDir: filepath.Join(w.state, "spool")}
	var box store.Mailbox
	var err error
	if w.line("mbox: ") != "" {
		box, err = store.OpenMbox(w.box, o)
	} else {
		box, err = store.OpenMaildir(w.box, o)
	}
	w.must(err)
	batch, err := box.Begin()
	w.must(err)
	keys := make([]ledger.Key, len(messages))
	for i, m := range messages {
		keys[i] = ledger.Key{UID: m.UID, ListedSize: m.Octets()}
		_, err := batch.Add(store.NewID("joe", m.UID, m.Octets(), 0), m.Reader())
		w.must(err)
	}
	var intent store.Intent
	_, err = batch.Commit(w.Context(), func(i store.Intent) error {
		intent = i
		rows := make([]ledger.Message, len(keys))
		for i, m := range intent.Messages {
			rows[i] = ledger.Message{Key: keys[i], Mailbox: w.box, Offset: m.Location.Offset, Length: m.Location.Length, Size: m.Size,
				SHA256: m.SHA256, StoredAt: w.clock(), Deletion: ledger.Pending}
		}
		_, err := w.ledger.Intend("joe", ledger.Intent{Path: i.Path, Offset: i.Offset, Length: i.Length, SHA256: i.SHA256, Spool: i.Spool, Messages: rows})
		return err
	})
	w.must(err)
	if w.line("maildir: ") != "" { // all is in place: now it only holds on to its folders, as no dead process does
		w.must(batch.Discard())
	}
	return intent
}

// Killed between the rename and the ledger: what is in the Maildir is adopted, and the server's copy goes.
func TestKilledBeforeTheLedger(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	a := w.deliver("a", "0")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	var orphans []popsim.Message
	for _, uid := range []string{"b", "c", "d", "e"} {
		orphans = append(orphans, w.deliver(uid, strings.Repeat("text\r\n", 100)))
	}
	w.storeByHand(orphans...)
	w.readSome()
	torn := filepath.Join(w.box, "tmp", w.newestName()+".0123456789abcdef."+hostname(t))
	w.must(os.WriteFile(torn, []byte("half a mess"), 0o600))
	f := w.deliver("f", "1")
	w.succeed(fetch.Report{Listed: 5, New: 1, Stored: 1, Deleted: 5})
	w.left()
	w.retrieved(map[string]int{"b": 0, "c": 0, "d": 0, "e": 0, "f": 1})
	w.holds(append(orphans, a, f)...)
	w.succeed(fetch.Report{})
}

// newestName is the beginning of a name of ours in the Maildir, up to the identity.
func (w *world) newestName() string {
	w.Helper()
	entries, err := os.ReadDir(filepath.Join(w.box, "new"))
	w.must(err)
	name := entries[len(entries)-1].Name()
	return name[:strings.Index(name, "popfetchd-")+len("popfetchd-")+32]
}

func hostname(t *testing.T) string {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Killed while appending to an mbox: the next run finishes the append without a download, wherever it had got to.
func TestKilledInAppend(t *testing.T) {
	const others = "From else Sat Mar 14 15:09:26 2026\nSubject: of another program\n\nText.\n\n"
	for name, test := range map[string]struct {
		damage  func(w *world, i store.Intent) // what stands in the mbox
		fetched int
		others  bool
	}{
		"whole":   {func(*world, store.Intent) {}, 0, false},
		"nothing": {func(w *world, i store.Intent) { w.must(os.Truncate(w.box, i.Offset)) }, 0, false},
		"torn":    {func(w *world, i store.Intent) { w.must(os.Truncate(w.box, i.Offset+i.Length/2)) }, 0, false},
		"zeros": {func(w *world, i store.Intent) {
			w.must(os.Truncate(w.box, i.Offset+i.Length/2))
			w.must(os.Truncate(w.box, i.Offset+i.Length))
		}, 0, false},
		"whole, and more behind": {func(w *world, i store.Intent) { w.append(others) }, 0, true},
		"whole, and the spool is gone": {func(w *world, i store.Intent) {
			w.must(os.Remove(i.Spool))
		}, 0, false},
		"whole, behind another program's mail": {func(w *world, i store.Intent) {
			data, err := os.ReadFile(w.box)
			w.must(err)
			w.must(os.Truncate(w.box, i.Offset))
			w.append(others + string(data[i.Offset:]))
		}, 0, true},
		"foreign": {func(w *world, i store.Intent) {
			w.must(os.Truncate(w.box, i.Offset))
			w.append(others)
		}, 1, true},
		"nothing, and the spool is gone": {func(w *world, i store.Intent) {
			w.must(os.Truncate(w.box, i.Offset))
			w.must(os.Remove(i.Spool))
		}, 1, false},
		"the mbox is gone": {func(w *world, i store.Intent) {
			w.must(os.Remove(w.box))
		}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "policy: delete", "mbox: mail")
			a := w.deliver("a", "0")
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
			b, c := w.deliver("b", strings.Repeat("text\r\n", 100)), w.deliver("c", "x")
			test.damage(w, w.storeByHand(b, c))
			want := fetch.Report{Listed: 2, Deleted: 2}
			if test.fetched > 0 {
				want.New, want.Stored = 2, 2
			}
			w.succeed(want)
			w.left()
			w.retrieved(map[string]int{"b": test.fetched, "c": test.fetched})
			var expect []popsim.Message
			if name != "the mbox is gone" {
				expect = append(expect, a)
			}
			expect = append(expect, b, c)
			if test.others {
				expect = append(expect, popsim.Message{Body: []byte("Subject: of another program\r\n\r\nText.\r\n")})
			}
			w.boxHolds(w.box, expect...)
			w.noLeftovers()
			w.succeed(fetch.Report{})
		})
	}
}

func (w *world) append(text string) {
	w.Helper()
	f, err := os.OpenFile(w.box, os.O_APPEND|os.O_WRONLY, 0)
	w.must(err)
	_, err = f.WriteString(text)
	w.must(err)
	w.must(f.Close())
}

// noLeftovers holds that nothing half done is left: no intent, no spool, no mailbox that has to be searched.
func (w *world) noLeftovers() {
	w.Helper()
	intents, err := w.ledger.Intents("joe")
	w.must(err)
	unsettled, err := w.ledger.Unsettled("joe")
	w.must(err)
	spools, err := filepath.Glob(filepath.Join(w.state, "spool", "*"))
	w.must(err)
	locks, err := filepath.Glob(w.box + ".*")
	w.must(err)
	if len(intents)+len(unsettled)+len(spools)+len(locks) > 0 {
		w.Fatalf("left over: intents %v, unsettled %v, %v, %v", intents, unsettled, spools, locks)
	}
}

func TestNothingIsLeftOver(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box)
		w.deliverN(3)
		w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
		w.noLeftovers()
		w.deliver("next", "x")
		w.server.SetFault(popsim.On("RETR", 0, popsim.HangUp()))
		w.fail(fetch.Temporary, fetch.Report{Listed: 4, New: 1, Failed: 1})
		w.noLeftovers()
	})
}

// An append that nobody can finish leaves what is known of other mailboxes alone.
func TestForeignAppendAmongDays(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail-%d")
	a, b := w.deliver("a", "1"), w.deliver("b", "2")
	w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
	w.loseLedger()
	w.pass(24 * time.Hour)
	w.account.Remove("a")
	w.account.Remove("b")
	w.deliver("c", "3")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	d := w.deliver("d", strings.Repeat("text\r\n", 100))
	w.box = strings.Replace(w.box, "%d", w.clock().Format("02"), 1)
	intent := w.storeByHand(d)
	w.must(os.Truncate(w.box, intent.Offset+intent.Length/2))
	w.append("\n\nFrom else Sat Mar 14 15:09:26 2026\nSubject: of another program\n\nText.\n\n")
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1})
	w.account.Deliver(a)
	w.account.Deliver(b)
	if r := w.run(); r.Stored != 0 || r.Err != nil {
		t.Errorf("%d messages were stored twice, %v", r.Stored, r.Err)
	}
}
