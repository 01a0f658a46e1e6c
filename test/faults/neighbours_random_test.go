package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// street is a postbox to which everything happens that neighbours, users and crashes do, in a random order.
type street struct {
	*postbox
	*rand.Rand
	neighbour *neighbour
	serial    int
	crashed   bool     // and no run has come to its end since
	optional  []string // deleted here before the ledger knew of them: they may come again
	history   []string
}

const rowRandom = "neighbours: everything in a random order"

// Mail comes, popfetchd runs and is killed, a neighbour appends, users mark, move and delete, in any order: what nobody
// deleted is there once, and nothing of others has changed.
func TestNeighboursAtRandom(t *testing.T) {
	for i := range rounds(2, 40) {
		inBoth(t, fmt.Sprintf("%d/", i), func(t *testing.T, kind string) {
			policy := []string{"keep", "delete"}[i%2]
			s := &street{postbox: newPostbox(t, kind, "policy: "+policy), Rand: rand.New(rand.NewPCG(*seed, uint64(i)))}
			s.neighbour = newNeighbour(t, s.Account)
			for range rounds(25, 60) {
				s.step()
			}
			s.sim.SetFault(nil)
			s.runs(0, "--once")
			s.fetches(0)
			weigh(t, rowRandom, s.Account, s.want, kind == "mbox", s.optional...)
			s.NoLeftovers(t)
			for _, m := range s.server.Messages() { // held back there: the user deleted it here before its time
				if subject := strings.TrimPrefix(m.UID, "uid-"); policy == "delete" && !slices.Contains(s.optional, subject) {
					t.Errorf("%s is not deleted on the server", subject)
				}
			}
			if t.Failed() {
				t.Logf("-seed %d: %s", *seed, strings.Join(s.history, ", "))
			}
		})
	}
}

func (s *street) step() {
	s.t.Helper()
	if info, err := os.Stat(s.Mailbox); err != nil || info.Mode().IsRegular() && info.Size() == 0 {
		s.receiveSome()
		s.run()
		return
	}
	switch s.IntN(8) {
	case 0, 1:
		s.receiveSome()
	case 2:
		s.run()
	case 3, 4:
		s.receiveSome()
		s.crash()
	case 5:
		if s.Kind == "mbox" {
			s.append()
		}
	default:
		s.delete()
	}
}

// note keeps what happens, for a reader of a failure, and counts it.
func (s *street) note(format string, args ...any) {
	results.add(result{fault: rowRandom, tried: 1})
	s.history = append(s.history, fmt.Sprintf(format, args...))
}

func (s *street) receiveSome() {
	n := 1 + s.IntN(4)
	s.note("%d come", n)
	for range n {
		s.serial++
		if s.IntN(20) == 0 {
			s.receivesBig(fmt.Sprintf("big-%d.", s.serial))
		} else {
			s.receives(fmt.Sprintf("a-%d.", s.serial))
		}
	}
}

func (s *street) run() {
	s.t.Helper()
	s.note("a run")
	s.sim.SetFault(nil)
	s.runs(0, "--once")
	s.crashed = false
}

// crash kills a run at a call that changes something here, or when it is about to say something to the server, unless it
// has come to its end before.
func (s *street) crash() {
	s.t.Helper()
	s.crashed = true
	if s.IntN(3) == 0 {
		run := s.command("--once")
		command, n := []string{"RETR", "DELE", "QUIT"}[s.IntN(3)], 1+s.IntN(3)
		s.note("killed at %s %d", command, n)
		if err := run.Start(); err != nil { // before the fault: a session of the run before may not have come to its end
			s.t.Fatal(err)
		}
		s.sim.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command == command && r.Nth == n {
				run.Process.Kill()
			}
			return popsim.Action{}
		})
		run.Wait()
		s.sim.SetFault(nil)
		return
	}
	ledger := filepath.Join(s.Dir, "state", "ledger.db-wal")
	points := []struct {
		calls, path string
		n           int
	}{
		{"write", s.Mailbox, 1}, {"fsync", s.Mailbox, 1},
		{"pwrite64", ledger, 1 + s.IntN(30)}, {"fsync,fdatasync", ledger, 1 + s.IntN(6)},
		{"unlink,unlinkat", filepath.Join(s.Dir, "state", "spool"), 1},
	}
	if s.Kind == "maildir" {
		points = append(points[2:4], struct {
			calls, path string
			n           int
		}{"renameat2,fsync,syncfs", filepath.Join(s.Mailbox, "new"), 1 + s.IntN(5)})
	}
	p := points[s.IntN(len(points))]
	s.note("killed at %s %d of %s", p.calls, p.n, filepath.Base(p.path))
	s.mayDie(p.calls, p.path, p.n)
}

// append has the neighbour append, as programs do that take the locks that they know, or none.
func (s *street) append() {
	s.t.Helper()
	s.serial++
	how := []string{"python", "fcntl", "dot", "none"}[s.IntN(4)]
	s.note("another program appends (%s)", how)
	s.breakLock()
	s.neighbour.appends(how, s.want, fmt.Sprintf("of-others-%d.", s.serial))
}

// breakLock removes a dot lock that a killed run left, as a person does for programs that never would.
func (s *street) breakLock() { os.Remove(s.Mailbox + ".lock") }

// delete deletes some letters, and marks and moves others.
func (s *street) delete() {
	s.t.Helper()
	all := slices.Sorted(maps.Keys(lettersIn(s.t, s.Account)))
	s.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	subjects, mark := all[:min(len(all), s.IntN(4))], s.IntN(2) == 0
	s.note("the user deletes %s, marks: %v", subjects, mark)
	if s.Kind == "mbox" {
		s.breakLock()
		s.neighbour.rewrites(mark, subjects...)
	} else {
		s.sortsMaildir(subjects)
	}
	for _, subject := range subjects {
		if s.crashed {
			s.optional = append(s.optional, subject)
		} else {
			delete(s.want, subject)
		}
	}
}
