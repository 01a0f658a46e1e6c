package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// interrupted is a batch whose intent was recorded and whose append never
// happened: what a process leaves that dies in record.
type interrupted struct {
	m      *Mbox
	before string // the mbox as it was
	ours   string // what was to be appended
	intent Intent
}

func interrupt(t *testing.T, before string) interrupted {
	m := newMbox(t)
	check(t, os.MkdirAll(filepath.Dir(m.path), 0o700))
	write(t, m.path, before)
	b := begin(t, m, 0, "one\r\n", "From two\r\n\x00\r\n", "").(*mboxBatch)
	stop := errors.New("stop")
	x := interrupted{m: m, before: before}
	_, err := b.Commit(context.Background(), func(i Intent) error { x.intent = i; return stop })
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	spool := read(t, x.intent.Spool)
	x.ours = spool[len(spool)-int(x.intent.Length):]
	return x
}

// redone is what Redo says, which has to be no error.
func redone(t rapid.TB, intent Intent, o Options) Outcome {
	t.Helper()
	outcome, _, err := Redo(context.Background(), intent, o)
	check(t, err)
	return outcome
}

// redo puts the mbox into a state, runs Redo, and compares both answers.
func (x interrupted) redo(t rapid.TB, state string, want Outcome, then string) {
	t.Helper()
	write(t, x.m.path, state)
	for i := range 2 {
		got, at, err := Redo(context.Background(), x.intent, x.m.options)
		check(t, err)
		if i == 1 && want == Restored {
			want = Whole // doing it again finds it done
		}
		if got != want {
			t.Fatalf("of %.200q Redo says %v, want %v", state, got, want)
		}
		if got != Foreign && !strings.HasPrefix(then[min(int(at), len(then)):], x.ours) {
			t.Fatalf("of %.200q Redo says %v at %d", state, got, at)
		}
		if data := read(t, x.m.path); data != then {
			t.Fatalf("%.200q became %.200q, want %.200q", state, data, then)
		}
	}
}

// Every torn state, byte by byte, is mended; whatever is not ours stays.
func TestRedo(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "From x\nold\n\n", "From x\nno line end"} {
		x := interrupt(t, before)
		whole := before + x.ours
		step := 1
		if before != "From x\nno line end" { // where a piece of the padding can be torn off, too
			step = 7
		}
		for n := 0; n < len(x.ours); n += step {
			x.redo(t, before+x.ours[:n], Restored, whole)
		}
		x.redo(t, whole, Whole, whole)
		x.redo(t, whole+"From other\nx\n\n", Whole, whole+"From other\nx\n\n")
		for _, foreign := range []string{
			before + "X" + x.ours[1:],                           // as long as ours
			before + x.ours[:20] + "From other\nx\n\n",          // others appended to our torn end
			before + x.ours[:len(x.ours)-1] + "Xmore",           // and beyond where we would end
			before + strings.Repeat("x", len(x.ours)) + "\n\n",  // something longer
			before + x.ours[:20] + "\x00\x00X",                  // zeros are ours, this is not
			whole[:len(before)] + "From other\nshort\n\n",       // something shorter
			before + x.ours[1:],                                 // out of step
			before + "\x00" + x.ours[1:] + "From other\nx\n\n",  // zeros, but others came after
			before + strings.ToUpper(x.ours[:len(x.ours)-1]),    // nearly
			before + x.ours[:len(x.ours)-2] + "From other\n\nx", // others began before our end
		} {
			x.redo(t, foreign, Foreign, foreign)
		}
		if before != "" {
			x.redo(t, before[:len(before)-1], Foreign, before[:len(before)-1])
			x.redo(t, "", Foreign, "")
		}
		check(t, x.m.Sweep())
		nothingUnfinished(t, x.m)
	}
}

// Whole bytes of ours count also behind those of others that came before.
func TestRedoFindsShifted(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "From x\nold\n\n", "From x\nno line end"} {
		x := interrupt(t, before)
		theirs := "\n\nFrom theirs\n" + strings.Repeat("x\n", 3*chunkSize/2) + "\n"
		for _, state := range []string{
			before + theirs + x.ours,
			before + theirs + x.ours + "From more\nx\n\n",
			before + theirs + x.ours + theirs + x.ours,
			before + theirs + x.ours + theirs + x.ours + "From more\nx\n\n",
			before + "\n\n" + x.ours[:len(x.ours)/2] + theirs + x.ours + theirs,
			before + "\n\n" + x.ours + x.ours[:len(x.ours)-1],
		} {
			x.redo(t, state, Whole, state)
		}
		for _, state := range []string{
			before + theirs + x.ours[:len(x.ours)-1],
			before + theirs + x.ours[:len(x.ours)-3] + theirs,
			before + theirs + x.ours[:len(x.ours)/2] + theirs + x.ours[len(x.ours)/2:],
			before + "\n\nFrom theirs, within a line " + strings.TrimLeft(x.ours, "\n") + theirs,
		} {
			x.redo(t, state, Foreign, state)
		}
		check(t, os.Remove(x.intent.Spool)) // then at the end at least
		x.redo(t, before+theirs+x.ours, Whole, before+theirs+x.ours)
		x.redo(t, before+theirs+x.ours+"From more\n\n", Foreign, before+theirs+x.ours+"From more\n\n")
	}
}

// Another file of the very length, whose end is no place for our bytes.
func TestRedoInAnotherFile(t *testing.T) {
	x := interrupt(t, "From x\nold\n\n")
	x.redo(t, "From y\nnew!\n", Foreign, "From y\nnew!\n")
}

// Mail that repeats itself does not make the search slow, or wrong.
func TestFindBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.SliceOfN(rapid.SampledFrom([]byte("\x00\nF")), 1, 12)
		ours := few.Draw(t, "ours")
		text := rapid.SliceOfN(rapid.SampledFrom([]byte("\x00\nF")), 0, 60).Draw(t, "text")
		dir := must(os.MkdirTemp("", "find"))(t)
		defer os.RemoveAll(dir)
		spool, mbox := filepath.Join(dir, "spool"), filepath.Join(dir, "box")
		write(t, spool, "\n\n"+string(ours))
		write(t, mbox, "before"+string(text))
		s, m := must(os.Open(spool))(t), must(os.Open(mbox))(t)
		defer s.Close()
		defer m.Close()
		var got []int64
		for at, err := range occurrences(m, 6, int64(6+len(text)), s, int64(len(ours))) {
			check(t, err)
			got = append(got, at)
		}
		var want []int64
		for i := range text {
			if strings.HasPrefix(string(text[i:]), string(ours)) {
				want = append(want, int64(6+i))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q in %q: found at %v, want %v", ours, text, got, want)
		}
	})
}

// After a power cut blocks that never reached the disk read as zeros.
func TestRedoWithZeros(t *testing.T) {
	t.Parallel()
	x := interrupt(t, "From x\nold\n\n")
	rapid.Check(t, func(t *rapid.T) {
		torn := []byte(x.ours[:rapid.IntRange(0, len(x.ours)).Draw(t, "length")])
		for range rapid.IntRange(0, 3).Draw(t, "holes") {
			from := rapid.IntRange(0, len(torn)).Draw(t, "from")
			clear(torn[from:rapid.IntRange(from, len(torn)).Draw(t, "to")])
		}
		want := Restored
		if string(torn) == x.ours {
			want = Whole
		}
		x.redo(t, x.before+string(torn), want, x.before+x.ours)
	})
}

// Without a good spool only what stands whole counts, and nothing is touched.
func TestRedoWithoutSpool(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"missing": os.Remove,
		"short":   func(path string) error { return os.Truncate(path, 10) },
		"changed": func(path string) error { return os.WriteFile(path, make([]byte, 4096), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			x := interrupt(t, "From x\nold\n\n")
			check(t, spoil(x.intent.Spool))
			whole := x.before + x.ours
			x.redo(t, whole, Whole, whole)
			x.redo(t, whole+"From y\n\n", Whole, whole+"From y\n\n")
			for _, torn := range []string{x.before, x.before + x.ours[:10], whole[:len(whole)-1], ""} {
				x.redo(t, torn, Foreign, torn)
			}
		})
	}
}

// A file that is gone is made anew only when nothing but ours was in it.
func TestRedoOfMissingFile(t *testing.T) {
	x := interrupt(t, "")
	check(t, os.RemoveAll(filepath.Dir(x.m.path)))
	if got := redone(t, x.intent, x.m.options); got != Restored || read(t, x.m.path) != x.ours {
		t.Errorf("Redo says %v", got)
	}
	for i, message := range x.intent.Messages {
		if got, want := content(t, x.m, message.Location), []string{"one\n", "From two\n\x00\n", ""}[i]; got != want {
			t.Errorf("message %d reads %q", i, got)
		}
	}
	x = interrupt(t, "From x\nold\n\n")
	check(t, os.Remove(x.m.path))
	if got := redone(t, x.intent, x.m.options); got != Foreign || len(names(t, filepath.Dir(x.m.path))) > 0 {
		t.Errorf("Redo says %v", got)
	}
}

func TestRedoWaitsForLocks(t *testing.T) {
	x := interrupt(t, "")
	write(t, x.m.path+".lock", "")
	x.m.options.LockTimeout = time.Millisecond
	if _, _, err := Redo(context.Background(), x.intent, x.m.options); !errors.Is(err, ErrLocked) {
		t.Errorf("Redo said %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("the service stops")
	cancel(reason)
	x.m.options.LockTimeout = time.Hour
	var local *Error
	if _, _, err := Redo(ctx, x.intent, x.m.options); !errors.Is(err, reason) || errors.As(err, &local) {
		t.Errorf("Redo said %v", err)
	}
}

// A process that is killed at a chosen place leaves what Redo and Sweep make
// good at once: its locks do not keep us out.
func TestKilledWriter(t *testing.T) {
	for dieAt, want := range map[string]Outcome{"add": 0, "record": Restored, "commit": Whole} {
		t.Run(dieAt, func(t *testing.T) {
			t.Parallel()
			x := newKilling(t)
			x.run(t, commitOrder{First: 0, Count: 2, Bytes: 1 << 20})
			x.run(t, commitOrder{First: 2, Count: 3, Bytes: 400 << 10, DieAt: dieAt})
			stored := 5
			if want == 0 {
				stored = 2
			} else if got := redone(t, readIntent(t, x.intent), x.m.options); got != want {
				t.Errorf("Redo says %v, want %v", got, want)
			}
			x.finish(t, stored)
		})
	}
}

// killing is an mbox that helpers write to.
type killing struct {
	m      *Mbox
	intent string // where they record it
}

func newKilling(t *testing.T) killing {
	m := newMbox(t)
	m.options.LockTimeout = 10 * time.Second
	return killing{m, filepath.Join(t.TempDir(), "intent")}
}

func (x killing) order(o commitOrder) commitOrder {
	o.Mbox, o.SpoolDir, o.Account, o.IntentFile = x.m.path, x.m.options.SpoolDir, "test", x.intent
	return o
}

// run waits for a helper to end as it was told to.
func (x killing) run(t *testing.T, o commitOrder) {
	t.Helper()
	err := helper(t, "commit", x.order(o).json()).Run()
	if (err != nil) != (o.DieAt != "") {
		t.Fatalf("the helper ended with %v", err)
	}
}

// finish sweeps and holds the mbox against the first n messages.
func (x killing) finish(t *testing.T, n int) {
	t.Helper()
	check(t, x.m.Sweep())
	got := all(t, x.m)
	if len(got) != n {
		t.Fatalf("%d messages stand there, want %d", len(got), n)
	}
	for i, mail := range got {
		if want := numbered(i, len(mail)); mail[:40] != want[:40] || !strings.HasPrefix(want, mail) {
			t.Errorf("message %d is torn", i)
		}
	}
	put(t, x.m, 100, "afterwards\r\n")
	nothingUnfinished(t, x.m)
}

// Killed while the append is under way, again and again.
func TestKilledInAppend(t *testing.T) {
	t.Parallel()
	x := newKilling(t)
	put(t, x.m, 0) // makes the spool folder
	check(t, os.MkdirAll(filepath.Dir(x.m.path), 0o700))
	write(t, x.m.path, "")
	const count, rounds = 4, 3
	outcomes := make(map[Outcome]int)
	for round := range rounds {
		c := helper(t, "commit", x.order(commitOrder{First: round * count, Count: count, Bytes: 2 << 20}).json())
		w := watch(t, x.m.path, unix.IN_MODIFY)
		check(t, c.Start())
		w.next(t)
		check(t, c.Process.Kill())
		c.Wait()
		outcomes[redone(t, readIntent(t, x.intent), x.m.options)]++
	}
	t.Logf("after %d kills: %v", rounds, outcomes)
	if outcomes[Foreign] > 0 {
		t.Error("our own bytes were taken for foreign ones")
	}
	x.finish(t, count*rounds)
}

// Killed after some of the renames: each message is in new/ whole, or not at
// all, and with Adopt and a second delivery every one is there exactly once.
// A mail reader has moved one of them to cur/ meanwhile.
func TestKilledInRenames(t *testing.T) {
	t.Parallel()
	m := newMaildir(t)
	const count, renamed = 50, 20
	c := helper(t, "commit", commitOrder{Maildir: m.path, Account: "test", Count: count, Bytes: 500, DieAt: "rename", Renames: renamed}.json())
	if err := c.Run(); err == nil {
		t.Fatal("the helper is alive")
	}
	for _, name := range names(t, m.path, "new") {
		if path := filepath.Join(m.path, "new", name); must(os.Stat(path))(t).IsDir() { // which stopped it
			check(t, os.Remove(path))
		}
	}
	inNew := names(t, m.path, "new")
	if left := names(t, m.path, "tmp"); len(inNew) != renamed || len(left) != count-renamed {
		t.Fatalf("there are %d messages in new/ and %d in tmp/", len(inNew), len(left))
	}
	check(t, os.Rename(filepath.Join(m.path, "new", inNew[0]), filepath.Join(m.path, "cur", inNew[0]+":2,RS")))

	there := make(map[ID]bool)
	for _, message := range must(m.Adopt(func(ID) bool { return true }))(t) {
		there[message.ID] = true
	}
	if len(there) != renamed {
		t.Errorf("%d messages were adopted, want %d", len(there), renamed)
	}
	check(t, m.Sweep())
	nothingUnfinished(t, m)
	b := begin(t, m, 0)
	var want []string
	for i := range count {
		want = append(want, numbered(i, 500))
		if !there[testID(i)] {
			must(b.Add(testID(i), strings.NewReader(want[i])))(t)
		}
	}
	must(b.Commit(context.Background(), nil))(t)
	check(t, b.Discard())
	sameSet(t, all(t, m), want)
}

// watcher reports what happens to a file or folder, by inotify(7).
type watcher struct{ f *os.File }

func watch(t *testing.T, path string, events uint32) watcher {
	fd := must(unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK))(t)
	f := os.NewFile(uintptr(fd), "inotify")
	t.Cleanup(func() { f.Close() })
	must(unix.InotifyAddWatch(fd, path, events))(t)
	check(t, f.SetReadDeadline(time.Now().Add(30*time.Second)))
	return watcher{f}
}

// next waits for the next event.
func (w watcher) next(t *testing.T) {
	t.Helper()
	must(w.f.Read(make([]byte, 4096)))(t)
}

func TestWords(t *testing.T) {
	if got := fmt.Sprint(Whole, Restored, Foreign, Outcome(9), Missing, Changed, Moved, Damage(9)); got != "whole restored foreign Outcome(9) missing changed moved Damage(9)" {
		t.Error(got)
	}
}
