package systemd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// entry is a line of the journal.
type entry struct {
	Message  string
	Priority string // as syslog has it: "3" is an error, "4" a warning, "6" for information
	Unit     string // that wrote it; "init.scope" is systemd itself
	About    string // the unit that systemd writes about
	PID      string
}

// journal has all entries of a container's journal, as they come.
type journal struct {
	c       *container
	reader  *exec.Cmd
	ended   sync.WaitGroup
	mu      sync.Mutex
	more    *sync.Cond
	entries []entry
	late    bool // patience is over
}

// follow reads the journal until the container ends.
func follow(c *container) *journal {
	c.Helper()
	j := &journal{c: c, reader: c.command("exec journalctl --follow --no-tail --output=json")}
	j.more = sync.NewCond(&j.mu)
	out, err := j.reader.StdoutPipe()
	must(c.T, err)
	must(c.T, j.reader.Start())
	j.ended.Go(func() {
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			j.add(line)
		}
	})
	return j
}

// end waits for the reader, whose journal is gone.
func (j *journal) end() {
	j.ended.Wait()
	j.reader.Wait() // it was killed
}

func (j *journal) add(line []byte) {
	var fields map[string]any // a text, or numbers when it is none
	if err := json.Unmarshal(line, &fields); err != nil {
		fields = map[string]any{"MESSAGE": fmt.Sprintf("%v: %s", err, line)}
	}
	text := func(name string) string {
		s, _ := fields[name].(string)
		return s
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry{text("MESSAGE"), text("PRIORITY"), text("_SYSTEMD_UNIT"), text("UNIT") + text("USER_UNIT"), text("_PID")})
	j.more.Broadcast()
}

// now is the place in the journal behind its last entry. systemd may be about to write more of what has happened before.
func (j *journal) now() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

// await returns the first entry from a place on that holds a text, written by the unit or by systemd about it.
func (j *journal) await(from int, unit, text string) entry {
	j.c.Helper()
	if e, found := j.find(from, unit, text); found {
		return e
	}
	j.c.Fatalf("the journal never said %q of %s\n%s", text, unit, j.tail())
	return entry{}
}

func (j *journal) find(from int, unit, text string) (entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.late = false
	timer := time.AfterFunc(patience, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.late = true
		j.more.Broadcast()
	})
	defer timer.Stop()
	for i := from; !j.late; i++ {
		for i == len(j.entries) && !j.late {
			j.more.Wait()
		}
		if i < len(j.entries) {
			if e := j.entries[i]; (e.Unit == unit || e.About == unit) && strings.Contains(e.Message, text) {
				return e, true
			}
		}
	}
	return entry{}, false
}

// of returns what a unit wrote from a place on.
func (j *journal) of(from int, unit string) []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []entry
	for _, e := range j.entries[from:] {
		if e.Unit == unit {
			all = append(all, e)
		}
	}
	return all
}

// tail is what the journal has of popfetchd and of trouble, for whoever looks into a failure.
func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, e := range j.entries {
		if strings.Contains(e.Unit+e.About, "popfetchd") || e.Priority <= "4" {
			fmt.Fprintf(&b, "<%s> %s %s[%s]: %s\n", e.Priority, e.About, e.Unit, e.PID, e.Message)
		}
	}
	return b.String()
}
