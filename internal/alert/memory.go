package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// memory is what has to outlast the process, beside the incidents themselves, which the ledger holds: without it each run of
// --once from cron would tell everything anew. It lies in a file of the state folder. That file is made with room to spare and
// written over in place, so that it can be written when the disk is full; a torn one counts as empty, and then the ledger says
// what was told.
type memory struct {
	Seen     map[string]time.Time      // accounts, since when they are known
	Checked  map[string]time.Time      // accounts, when Gmail's settings were last read
	Ended    map[string]time.Time      // incidents that were told and ended lately, by key
	Open     []ledger.Incident         // incidents that the ledger could not take
	Channels map[string]*channelMemory // by the channel's name
}

// channelMemory is what a channel has done.
type channelMemory struct {
	Told     []told      // incidents that it has told, and whose end it has not
	Sent     []time.Time // messages of the last hour
	Failures int         // in a row
	Next     time.Time   // no try before
}

// told is an incident that a channel has told.
type told struct {
	Account, Kind string
	Since, At     time.Time
	Over          time.Time // when it ended; zero: it goes on, as far as is known
	Count         int       // of messages that were set aside
}

func (t told) key() string { return key(t.Account, t.Kind) }

func key(account, kind string) string { return account + " " + kind } // names of accounts hold no spaces

func (m *memory) channel(name string) *channelMemory {
	if m.Channels[name] == nil {
		m.Channels[name] = &channelMemory{}
	}
	return m.Channels[name]
}

func (m *memory) fill() {
	for _, each := range []*map[string]time.Time{&m.Seen, &m.Checked, &m.Ended} {
		if *each == nil {
			*each = map[string]time.Time{}
		}
	}
	if m.Channels == nil {
		m.Channels = map[string]*channelMemory{}
	}
	for name, c := range m.Channels {
		if c == nil {
			delete(m.Channels, name)
		}
	}
}

const (
	memoryName = "alerts.json"
	memoryRoom = 32 << 10 // what the file is made with: enough for the troubles of a hundred accounts
	maxMemory  = 4 << 20
	bookPoll   = 50 * time.Millisecond
)

// book is the memory and the incidents, locked against other processes for as long as it is open.
type book struct {
	memory
	file      *os.File // nil: this process alone remembers
	before    []byte
	books     *ledger.Ledger // nil when it cannot be used
	incidents []ledger.Incident
	fresh     bool // nothing was remembered
}

// openBook waits for the file's lock as long as ctx allows. kept is what this process remembers, should there be no file.
func openBook(ctx context.Context, stateDir string, books *ledger.Ledger, kept *memory) (*book, error) {
	b := &book{books: books}
	file, err := openMemory(stateDir)
	if err == nil {
		if err := lockMemory(ctx, file); err != nil {
			file.Close()
			return nil, err
		}
		b.file = file
		b.before, _ = io.ReadAll(io.LimitReader(file, maxMemory))
		b.fresh = json.Unmarshal(bytes.TrimSpace(b.before), &b.memory) != nil
	} else if kept != nil {
		b.memory = *kept
	} else {
		b.fresh = true
	}
	if b.fresh {
		b.memory = memory{}
	}
	b.fill()
	b.gather()
	return b, nil
}

// openMemory opens the file in the state folder, or where that cannot be written, one for temporary files.
func openMemory(stateDir string) (*os.File, error) {
	file, err := openOwn(filepath.Join(stateDir, memoryName))
	if err == nil {
		return file, nil
	}
	sum := fmt.Sprintf("popfetchd-%d-%x-%s", os.Getuid(), hash(stateDir), memoryName)
	return openOwn(filepath.Join(os.TempDir(), sum))
}

// openOwn opens a regular file of ours that nobody else can read, and makes it with room to spare when it is not there.
func openOwn(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		stat, _ := info.Sys().(*syscall.Stat_t)
		switch {
		case !info.Mode().IsRegular() || stat == nil || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0:
			err = errors.New(path + " is not ours")
		case info.Size() < memoryRoom:
			_, err = file.WriteAt(bytes.Repeat([]byte(" "), memoryRoom-int(info.Size())), info.Size())
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func lockMemory(ctx context.Context, file *os.File) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		pause := time.NewTimer(bookPoll)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("another popfetchd is telling: %w", context.Cause(ctx))
		}
	}
}

// gather reads the incidents. What the ledger could not take before it may take now.
func (b *book) gather() {
	if b.books != nil {
		incidents, err := b.books.Incidents()
		if err != nil {
			b.books = nil
		}
		b.incidents = incidents
	}
	b.Open = slices.DeleteFunc(b.Open, func(i ledger.Incident) bool {
		if b.find(i.Account, i.Kind) >= 0 {
			return true
		}
		b.incidents = append(b.incidents, i)
		return b.books != nil && b.books.RaiseIncident(i) == nil
	})
}

func (b *book) find(account, kind string) int {
	return slices.IndexFunc(b.incidents, func(i ledger.Incident) bool { return i.Account == account && i.Kind == kind })
}

// mark notes in what channels have told whether an incident is over, and says whether any had told it.
func (b *book) mark(account, kind string, over time.Time) (any bool) {
	for _, c := range b.Channels {
		for n, t := range c.Told {
			if t.Account == account && t.Kind == kind {
				any = true
				if over.IsZero() || t.Over.IsZero() {
					c.Told[n].Over = over
				}
			}
		}
	}
	return any
}

// raise notes an incident; of one that goes on only the text changes.
func (b *book) raise(i ledger.Incident) {
	b.mark(i.Account, i.Kind, time.Time{})
	at := b.find(i.Account, i.Kind)
	if at >= 0 && b.incidents[at].Text == i.Text {
		return
	}
	if at >= 0 {
		i.Since, i.Told = b.incidents[at].Since, b.incidents[at].Told
		b.incidents[at] = i
	} else {
		b.incidents = append(b.incidents, i)
	}
	b.Open = slices.DeleteFunc(b.Open, func(o ledger.Incident) bool { return o.Account == i.Account && o.Kind == i.Kind })
	if b.books == nil || b.books.RaiseIncident(i) != nil {
		b.Open = append(b.Open, i)
	}
}

// end forgets an incident, if there is one. Channels that told it tell its end.
func (b *book) end(account, kind string, now time.Time) {
	at := b.find(account, kind)
	if at < 0 { // the ledger may be another one than when it was told
		b.mark(account, kind, now)
		return
	}
	if b.mark(account, kind, now) {
		b.Ended[key(account, kind)] = now
	}
	b.incidents = slices.Delete(b.incidents, at, at+1)
	b.Open = slices.DeleteFunc(b.Open, func(o ledger.Incident) bool { return o.Account == account && o.Kind == kind })
	if b.books != nil {
		_ = b.books.EndIncident(account, kind) // one that stays is ended at the next look
	}
}

// toldOne notes that somebody was told.
func (b *book) toldOne(account, kind string, at time.Time) {
	if n := b.find(account, kind); n >= 0 {
		b.incidents[n].Told = at
	}
	for n := range b.Open {
		if b.Open[n].Account == account && b.Open[n].Kind == kind {
			b.Open[n].Told = at
		}
	}
	if b.books != nil {
		_ = b.books.ToldIncident(account, kind, at) // the file knows it too
	}
}

// save writes the memory, if it has changed, over what was there.
func (b *book) save() error {
	if b.file == nil {
		return nil
	}
	text, err := json.Marshal(b.memory)
	if err != nil || bytes.Equal(bytes.TrimSpace(b.before), text) {
		return err
	}
	padded := append(text, bytes.Repeat([]byte(" "), max(0, max(len(b.before), memoryRoom)-len(text)))...)
	if _, err := b.file.WriteAt(padded, 0); err != nil {
		return err
	}
	b.before = padded
	return b.file.Sync()
}

func (b *book) close() {
	if b.file != nil {
		b.file.Close()
	}
}
