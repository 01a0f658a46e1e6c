package oauthsim

import (
	"io"
	"net/http"
	"strings"
)

// Fault is an answer that is not the server's own.
type Fault struct {
	Path  string // whose requests it befalls, such as "/token"
	Times int    // how many of them; 0: all until ClearFaults

	Hang     bool   // no answer at all, until the client goes away or the server closes
	Status   int    // 0: 200, or 400 with Error
	Type     string // Content-Type; "": application/json
	Body     string // what is sent
	Filler   int64  // octets of blanks sent after Body, in whole 4 KiB
	Error    string // instead of Body: an error of RFC 6749 section 5.2
	Text     string // its error_description
	Location string // a redirect's
}

// SetFault adds a fault. Of several with the same path the oldest comes first.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults makes the server a good one again.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (f *Fault) play(w http.ResponseWriter, r *http.Request, ending <-chan struct{}) {
	// The server notices that a client goes away only once the body has been read.
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxForm))
	if f.Hang {
		select {
		case <-r.Context().Done():
		case <-ending:
		}
		return
	}
	status := f.Status
	if f.Error != "" {
		if status == 0 {
			status = http.StatusBadRequest
		}
		refuse(w, status, f.Error, f.Text)
		return
	}
	if f.Location != "" {
		w.Header().Set("Location", f.Location)
	}
	kind := f.Type
	if kind == "" {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	if status != 0 {
		w.WriteHeader(status)
	}
	io.WriteString(w, f.Body)
	blanks := strings.Repeat(" ", 4<<10)
	for sent := int64(0); sent < f.Filler; sent += int64(len(blanks)) {
		if _, err := io.WriteString(w, blanks); err != nil {
			return // the client has had enough
		}
	}
}
