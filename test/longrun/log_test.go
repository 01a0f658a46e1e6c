package longrun

import (
	"slices"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// The log has one line for a run that did something, none for one that did not, one for a failure and one for its end.
func TestLog(t *testing.T) {
	h := open(t, 3)
	h.expect("a start", "INFO popfetchd is running", "INFO the status page is served")
	h.fetch()
	h.expect("a run that found nothing")
	h.accounts[1].Deliver(popsim.Message{Body: []byte("Subject: x\r\n\r\nx\r\n")})
	h.accounts[1].Deliver(popsim.Message{Body: []byte("Subject: y\r\n\r\ny\r\n")})
	h.fetch()
	h.expect("a run that stored two messages", "INFO run done account001")
	h.befall(map[string]popsim.Action{"LOGIN account002": popsim.Refuse("[SYS/TEMP] busy")})
	h.fetch()
	h.expect("a failure", "ERROR run failed account002")
	h.fetch()
	h.expect("the same one, when somebody asked", "ERROR run failed account002")
	h.befall(nil)
	h.fetch()
	h.expect("the end of a failure", "INFO run succeeded again account002")
	h.fetch()
	h.expect("a run after that")
}

// expect holds what was logged since it was last called against these lines, in any order.
func (h *house) expect(after string, want ...string) {
	h.Helper()
	var got []string
	h.wait("the log", func() bool {
		for _, l := range h.taken() {
			got = append(got, l.String())
		}
		return len(got) >= len(want)
	})
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		h.Errorf("after %s the log says\n%q\nwant\n%q", after, got, want)
	}
}
