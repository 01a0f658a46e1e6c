package ledger_test

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"pgregory.net/rapid"
)

// takerVariable makes the test binary take the steps in a file on the ledger at this path.
const takerVariable = "LEDGER_TEST_TAKER"

// takeSteps takes the steps in the file and prints the number of each that is over. Some of them are refused.
func takeSteps(path, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var steps []step
	if err := gob.NewDecoder(f).Decode(&steps); err != nil {
		return err
	}
	l, err := ledger.Open(path)
	if err != nil {
		return err
	}
	for i, s := range steps {
		_, _ = s.do(l)
		fmt.Println(i)
	}
	return l.Close()
}

// taker starts a process that takes the steps.
func taker(t *rapid.T, path string, steps []step) (*exec.Cmd, *bufio.Scanner) {
	file, err := os.Create(path + ".steps")
	ok(t, err)
	ok(t, gob.NewEncoder(file).Encode(steps))
	ok(t, file.Close())
	command := exec.Command(os.Args[0], file.Name())
	command.Env = append(os.Environ(), takerVariable+"="+path)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	ok(t, err)
	ok(t, command.Start())
	return command, bufio.NewScanner(output)
}

// TestKilledAtAnyStep kills a process at random moments of a random run, several times on one ledger. What is there
// afterwards is what the model has after the steps that were over, or after one more: never a part of one.
func TestKilledAtAnyStep(t *testing.T) {
	t.Parallel()
	folders := newFolders(t)
	rapid.Check(t, func(t *rapid.T) {
		path, m := filepath.Join(folders(), "ledger.db"), model{}
		for range rapid.IntRange(1, 3).Draw(t, "kills") {
			steps := drawSteps(t, m, 40)
			m = m.afterKill(t, path, steps, rapid.IntRange(0, len(steps)-1).Draw(t, "killed at"))
		}
	})
}

// afterKill has a process take the steps and kills it when step last is over, or a moment later. It returns the model that
// the ledger is like.
func (m model) afterKill(t *rapid.T, path string, steps []step, last int) model {
	command, output := taker(t, path, steps)
	over := 0
	for output.Scan() {
		number, err := strconv.Atoi(output.Text())
		ok(t, err)
		if over = number + 1; number == last {
			time.AfterFunc(time.Duration(rand.IntN(int(3*time.Millisecond))), func() { _ = command.Process.Kill() })
		}
	}
	if err := command.Wait(); err != nil && command.ProcessState.Exited() {
		t.Fatal(err)
	}
	m = m.clone()
	for _, s := range steps[:over] {
		m.take(s)
	}
	l, err := ledger.Open(path)
	ok(t, err)
	defer l.Close()
	difference := m.differs(l, names, nil)
	if difference != "" && over < len(steps) {
		m.take(steps[over])
		difference = m.differs(l, names, nil)
	}
	if difference != "" {
		t.Fatalf("after %d of %d steps: %s", over, len(steps), difference)
	}
	return m
}

// history is a ledger taken step by step: the file as it was before, its -wal file after, and how long that was, and what
// the model was like, after each step.
type history struct {
	before, after, wal []byte
	lengths            []int64
	models             []model
}

// record makes a ledger with some content, and takes steps on it. The -wal file is never written back meanwhile. after is
// the file once the whole -wal file was copied into it, as a checkpoint does.
func record(t *rapid.T, path string) history {
	start, h := model{}, history{}
	l, err := ledger.Open(path)
	ok(t, err)
	for _, s := range drawSteps(t, model{}, 10) {
		start.take(s)
		_, _ = s.do(l)
	}
	ok(t, l.Close())
	l, err = ledger.Open(path)
	ok(t, err)
	h.before = read(t, path)
	note := func(m model) {
		info, err := os.Stat(path + "-wal")
		ok(t, err)
		h.lengths, h.models = append(h.lengths, info.Size()), append(h.models, m.clone())
	}
	note(start)
	m := start.clone()
	for _, s := range drawSteps(t, start, 20) {
		m.take(s)
		_, _ = s.do(l)
		note(m)
	}
	h.wal = read(t, path+"-wal")
	ok(t, l.Close()) // copies it
	h.after = read(t, path)
	return h
}

func read(t *rapid.T, path string) []byte {
	data, err := os.ReadFile(path)
	ok(t, err)
	return data
}

// at returns what the model was like when the -wal file had no more than this length.
func (h history) at(length int64) model {
	m := h.models[0]
	for i, l := range h.lengths {
		if l <= length {
			m = h.models[i]
		}
	}
	return m
}

// checkFiles wants a ledger of these bytes to be like the model; or, where it may be, to be refused as damaged.
func checkFiles(t *rapid.T, what, path string, db, wal []byte, want model, mayBeDamaged bool) {
	ok(t, os.WriteFile(path, db, 0o600))
	ok(t, os.WriteFile(path+"-wal", wal, 0o600))
	l, err := ledger.Open(path)
	if mayBeDamaged && errors.Is(err, ledger.ErrDamaged) {
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer l.Close()
	if difference := want.differs(l, names, nil); difference != "" {
		t.Fatalf("%s: %s", what, difference)
	}
}

// TestPowerCut: however much of the -wal file reached the disk, whole transactions survive, and the ledger is what it was
// after the last of them; a checkpoint that broke off loses nothing.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	folders := newFolders(t)
	rapid.Check(t, func(t *rapid.T) {
		folder := folders()
		h := record(t, filepath.Join(folder, "recorded.db"))
		next := 0
		path := func() string { next++; return filepath.Join(folder, fmt.Sprintf("%d.db", next)) }
		last := h.models[len(h.models)-1]
		for range 4 {
			cut := rapid.IntRange(0, len(h.wal)).Draw(t, "cut")
			checkFiles(t, fmt.Sprintf("-wal cut to %d bytes of %d", cut, len(h.wal)), path(), h.before, h.wal[:cut], h.at(int64(cut)), false)
		}
		for range 2 { // blocks of the end reached the disk, one before did not
			torn := append([]byte(nil), h.wal...)
			block := rapid.IntRange(0, len(h.wal)/512).Draw(t, "torn block")
			clear(torn[block*512 : min(block*512+512, len(torn))])
			intact := 0
			for intact < len(torn) && torn[intact] == h.wal[intact] {
				intact++
			}
			checkFiles(t, fmt.Sprintf("block %d of the -wal torn", block), path(), h.before, torn, h.at(int64(intact)), false)
		}
		for range 2 {
			checkFiles(t, "a checkpoint broke off", path(), mixed(t, h.before, h.after), h.wal, last, false)
		}
		cut := rapid.IntRange(0, len(h.after)-1).Draw(t, "cut")
		checkFiles(t, fmt.Sprintf("cut to %d bytes, with the whole -wal", cut), path(), h.after[:cut], h.wal, last, true)
		checkFiles(t, fmt.Sprintf("cut to %d bytes, without -wal", cut), path(), h.after[:cut], nil, model{}, true)
	})
}

// mixed is a file of which some blocks are as before and others as after.
func mixed(t *rapid.T, before, after []byte) []byte {
	const block = 512
	mix := append([]byte(nil), after...)
	for at := 0; at+block <= len(before); at += block {
		if rapid.Bool().Draw(t, "old") {
			copy(mix[at:at+block], before[at:])
		}
	}
	return mix
}
