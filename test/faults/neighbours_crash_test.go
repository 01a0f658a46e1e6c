package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/popfetchd/popfetchd/test/program"
)

// receivesBig puts a large letter on the server.
func (p *postbox) receivesBig(subject string) {
	m := p.want.add(subject)
	m.Body = append(m.Body, strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 30_000)...)
	p.want[subject] = string(m.Stored())
	p.server.Deliver(m)
}

// crashes are the moments of an append to an mbox that a crash can part: nothing of ours stands there, a part of it, all
// of it. Each time nobody has remembered it.
var crashes = []string{"before the append", "in the append", "after the append"}

// diesAt runs the program and kills it at such a moment of the first append, in a run that has many letters to fetch.
func (p *postbox) diesAt(crash string) {
	p.t.Helper()
	before := p.size()
	switch crash {
	case "before the append":
		p.dies("write", p.Mailbox, 1)
		if p.size() != before {
			p.t.Fatal("it had written already")
		}
	case "in the append":
		p.dies("fsync", p.Mailbox, 1)
		if err := os.Truncate(p.Mailbox, (before+p.size())/2); err != nil { // as if it had not come further
			p.t.Fatal(err)
		}
	case "after the append":
		p.dies("fsync", p.Mailbox, 1)
	}
}

// size is the length of the mbox.
func (p *postbox) size() int64 {
	p.t.Helper()
	info, err := os.Stat(p.Mailbox)
	if err != nil {
		p.t.Fatal(err)
	}
	return info.Size()
}

// The program is killed while it appends, and before its next run another program appends too, deletes, or marks what it
// finds. Whatever stands whole is not fetched again.
func TestNeighbourAfterACrash(t *testing.T) {
	neighbours := map[string]func(p *postbox, n *neighbour){
		"appends":              func(p *postbox, n *neighbour) { n.appends("fcntl", p.want, "behind") },
		"appends without lock": func(p *postbox, n *neighbour) { n.appends("none", p.want, "behind") },
		"deletes what was before": func(p *postbox, n *neighbour) {
			n.rewrites(false, "first")
			delete(p.want, "first")
		},
		"deletes and marks": func(p *postbox, n *neighbour) {
			n.rewrites(true, "first")
			delete(p.want, "first")
		},
	}
	for name, act := range neighbours {
		for _, crash := range crashes {
			t.Run(name+"/"+crash, func(t *testing.T) {
				t.Parallel()
				p := newPostbox(t, "mbox")
				n := newNeighbour(t, p.Account)
				n.appends("python", p.want, "first")
				n.appends("python", p.want, "second")
				p.receives("known")
				p.fetches(1)
				p.receives(numbered("a", 8)...)
				p.receivesBig("big")
				p.receives(numbered("b", 8)...)
				p.diesAt(crash)
				os.Remove(p.Mailbox + ".lock") // as a person does who finds that the program is dead; Python's module never would
				act(p, n)
				p.runs(0, "--once")
				p.fetches(0)
				if crash == "in the append" {
					p.losesNothing("neighbours: another program at the mbox after a crash")
				} else {
					weigh(t, "neighbours: another program at the mbox after a crash", p.Account, p.want, strings.HasSuffix(name, "marks"))
				}
				p.NoLeftovers(t)
			})
		}
	}
}

// losesNothing is weigh for an mbox in which an append was torn before another program went on behind it: the torn
// letter is there as well, with what others wrote behind it, because whose bytes those are is for a person to say.
func (p *postbox) losesNothing(fault string) {
	p.t.Helper()
	data, err := os.ReadFile(p.Mailbox)
	if err != nil {
		p.t.Fatal(err)
	}
	r := result{fault: fault, tried: 1, messages: len(p.want)}
	file := "\n" + unmarked(string(data))
	for subject, text := range p.want {
		switch n := strings.Count(file, "\n"+unmarked(string(quoted(text)))+"\n"); {
		case n == 0:
			r.lost++
			p.t.Errorf("lost: %s", subject)
		case n > 1:
			r.duplicated += n - 1
			p.t.Errorf("there %d times: %s", n, subject)
		}
	}
	results.add(r)
}

// A program that knows no locks, an editor perhaps, puts a new file in the place of the mbox when popfetchd has just locked
// it, written to it, or flushed it. What went into the old file does not count.
func TestNeighbourReplaces(t *testing.T) {
	for _, call := range []string{"fcntl", "write", "fsync"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			p := newPostbox(t, "mbox")
			newNeighbour(t, p.Account).appends("fcntl", p.want, "first")
			p.receives(numbered("a", 5)...)
			text, err := os.ReadFile(p.Mailbox)
			if err == nil {
				err = os.WriteFile(p.Mailbox+".new", text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.stopsAfter(call, p.Mailbox, func() {
				if err := os.Rename(p.Mailbox+".new", p.Mailbox); err != nil {
					t.Error(err)
				}
			})
			p.runs(0, "--once")
			p.fetches(0)
			weigh(t, "neighbours: another program puts a new mbox in the place of ours", p.Account, p.want, false)
			p.NoLeftovers(t)
		})
	}
}

// stopsAfter runs the program, and has it stand still after the first such call with the file at path, while something else
// happens.
func (p *postbox) stopsAfter(call, path string, happens func()) {
	p.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	defer read.Close()
	strace := exec.Command("strace", "-f", "-qq", "-o", "/dev/fd/3", "-P", path, "-e", "trace="+call,
		"-e", "inject="+call+":signal=STOP:when=1", program.Path(), "--config", p.Config(), "--once")
	strace.ExtraFiles = []*os.File{write}
	if err := strace.Start(); err != nil {
		p.t.Fatal(err)
	}
	write.Close()
	stopped := false
	for lines := bufio.NewScanner(read); lines.Scan(); {
		var pid int
		if _, err := fmt.Sscanf(lines.Text(), "%d --- stopped by SIGSTOP ---", &pid); err != nil {
			continue
		}
		if !stopped {
			stopped = true
			happens()
		}
		syscall.Kill(pid, syscall.SIGCONT) // for each thread: one may have stopped after the first was told to go on
	}
	strace.Wait() // well or not
	if !stopped {
		p.t.Fatalf("it never came to %s", call)
	}
}
