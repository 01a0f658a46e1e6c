package longrun

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const mebibyte = 1024 // in the kibibytes of /proc

// Five hundred accounts that wait for their time take less than 40 MB, after all have logged in over TLS once.
func TestMemoryOfIdleAccounts(t *testing.T) {
	h := open(t, 500)
	t.Log("after the first runs ", h.size())
	h.wait("less than 40 MiB", func() bool { return h.figure("VmRSS") < 40*mebibyte })
	t.Log("then ", h.size())
}

// size is what the daemon takes.
func (h *house) size() string {
	h.Helper()
	return fmt.Sprintf("%d KiB (%d KiB its own, at most %d KiB), %d goroutines, %d threads, %d files",
		h.figure("VmRSS"), h.figure("RssAnon"), h.figure("VmHWM"), h.goroutines(), h.figure("Threads"), len(h.files()))
}

// Over thousands of runs, of which many find mail and many fail in all sorts of ways, nothing grows and nothing stays open.
// In the end all mail is here.
func TestManyRuns(t *testing.T) {
	accounts, rounds := 50, 11
	if *full {
		accounts, rounds = 500, 21
	}
	h, random := open(t, accounts), chance(t)
	const settled = 2 // rounds: by then each thing has happened once
	var files, goroutines, own int
	for round := range rounds {
		h.befall(h.troubles(random))
		h.deliver(random)
		h.fetch()
		if round == settled {
			files, goroutines, own = len(h.files()), h.goroutines(), h.figure("RssAnon")
		}
		t.Logf("after %d runs %s", (round+2)*accounts, h.size())
	}
	h.befall(nil)
	for i := range h.accounts {
		if h.stored(i) < len(h.accounts[i].Messages()) { // what broke lately would wait for a while
			h.must(h.command("retry", h.name(i)).Run())
		}
	}
	if o := h.fetch(); o.Code != 0 {
		t.Errorf("exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	// Now and then one is on its way.
	h.wait("the files", func() bool { return len(h.files()) <= files+1 })
	h.wait("the goroutines", func() bool { return h.goroutines() <= goroutines+3 })
	h.wait("the memory", func() bool { return h.figure("RssAnon") <= own+4*mebibyte })
	h.checkMail()
}

// troubles draws what goes wrong with some accounts.
func (h *house) troubles(random *rand.Rand) map[string]popsim.Action {
	all := map[string]popsim.Action{}
	for i := range h.accounts {
		if random.IntN(10) > 0 {
			continue
		}
		switch name := h.name(i); random.IntN(6) {
		case 0:
			all["LOGIN "+name] = popsim.Refuse("[SYS/TEMP] busy")
		case 1:
			all["LOGIN "+name] = popsim.HangUp()
		case 2:
			all["UIDL "+name] = popsim.HangUp()
		case 3:
			all["RETR "+name] = popsim.HangUpInBody(int64(random.IntN(1000)))
		case 4:
			all["QUIT "+name] = popsim.HangUpUnanswered()
		case 5:
			all["STAT "+name] = popsim.Raw("nonsense\r\n")
		}
	}
	if random.IntN(6) == 0 {
		all["CONNECT "] = popsim.HangUp() // nobody gets in
	}
	return all
}

// deliver gives some accounts new mail.
func (h *house) deliver(random *rand.Rand) {
	for _, a := range h.accounts {
		for range max(0, random.IntN(8)-5) {
			a.Deliver(popsim.Message{Body: fmt.Appendf(nil, "Subject: %d\r\n\r\n%0*d\r\n", random.Uint64(), 1+random.IntN(5000), 0)})
		}
	}
}

// stored is how many messages of an account are here.
func (h *house) stored(i int) int {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "mail", h.name(i), "new", "*"))
	h.must(err)
	return len(files)
}

// checkMail holds the mailboxes against what the server has, by numbers.
func (h *house) checkMail() {
	h.Helper()
	for i, a := range h.accounts {
		if n, want := h.stored(i), len(a.Messages()); n != want {
			h.Errorf("account %s: %d messages are here, %d on the server", h.name(i), n, want)
		}
	}
	if rest, err := os.ReadDir(filepath.Join(h.dir, "state")); err != nil || len(rest) > 10+len(h.accounts) {
		h.Errorf("%d files in the state folder, %v", len(rest), err)
	}
}
