package web

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"time"

	"github.com/popfetchd/popfetchd/internal/daemon"
)

// While a page is open its script follows /events (server-sent events, HTML Standard section 9.2): "live" brings how far the runs
// under way have come, as a JSON list of live; "page" says that more has changed and the page is to be fetched again.

const (
	liveEvery = 250 * time.Millisecond // at most so often
	pageAge   = time.Minute            // a page's times grow old by themselves
	patience  = 20 * time.Second       // for a browser to take an event
)

// events follows the daemon until the browser hangs up or the daemon ends.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.watching <- struct{}{}:
		defer func() { <-s.watching }()
	default:
		http.Error(w, "too many pages are being followed", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would collect events
	stream := &stream{out: http.NewResponseController(w), ResponseWriter: w}
	changed := s.Subscribe(r.Context())
	shown := r.URL.Query().Get("mark") // by the page
	old, calm := time.NewTicker(pageAge), time.NewTicker(liveEvery)
	defer old.Stop()
	defer calm.Stop()
	err := s.tell(stream, &shown)
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-s.ending.Done():
			return
		case <-old.C:
			err = stream.send("page", nil)
		case <-changed:
			err = s.tell(stream, &shown)
			<-calm.C
		}
	}
}

// tell sends what has changed since a page was shown.
func (s *Server) tell(to *stream, shown *string) error {
	states := s.States()
	if now := mark(states); now != *shown {
		*shown = now
		return to.send("page", nil)
	}
	return to.send("live", s.lives(states))
}

// stream is a browser's end of the events.
type stream struct {
	http.ResponseWriter
	out *http.ResponseController
}

func (s *stream) send(event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := s.out.SetWriteDeadline(now.Add(patience)); err != nil {
		return err
	}
	if err := s.out.SetReadDeadline(time.Time{}); err != nil { // nothing more is to come from there
		return err
	}
	if _, err := fmt.Fprintf(s, "event: %s\ndata: %s\n\n", event, text); err != nil {
		return err
	}
	return s.out.Flush()
}

// lives is what is going on in the accounts that are being fetched.
func (s *Server) lives(states []daemon.State) []live {
	all := []live{}
	for _, state := range states {
		if state.Running {
			all = append(all, newLive(state, s.Now()))
		}
	}
	return all
}

// mark changes when more has changed than how far runs have come.
func mark(states []daemon.State) string {
	h := fnv.New64a()
	for _, s := range states {
		fmt.Fprintf(h, "%q %t %d %d %d\n", s.Account.Name, s.Running, s.Runs, s.Failures, s.Next.Unix())
	}
	return strconv.FormatUint(h.Sum64(), 36)
}
