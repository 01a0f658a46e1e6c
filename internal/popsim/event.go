package popsim

// Event is what a server has to tell of its sessions.
type Event struct {
	Kind     EventKind
	Session  int
	Username string // without "recent:"
	Recent   bool
	Method   string // "PASS", "AUTH PLAIN", "AUTH XOAUTH2" or "AUTH OAUTHBEARER"

	Answer string // Refused: the status line; the challenge, when a token was refused

	Listed    int  // Entered, Left: messages that the session lists
	Retrieved int  // Left: messages that were sent whole
	Deleted   int  // Left: messages that were marked as deleted
	Popped    int  // Left: messages that Gmail's maildrop takes as downloaded since
	Quit      bool // Left: by QUIT; else the line was cut
}

// EventKind is what happened.
type EventKind int

// Each session that is Entered is Left.
const (
	Entered EventKind = iota
	Refused
	Left
)

// tell fills in what the session knows, and passes the event on.
func (s *session) tell(e Event) {
	watch := s.server.config.Watch
	if watch == nil {
		return
	}
	e.Session = s.number
	if s.account != nil {
		e.Username, e.Recent, e.Method = s.account.Username, s.view.recent, s.method
		e.Listed, e.Retrieved, e.Deleted, e.Popped = len(s.list), len(s.view.retrieved), len(s.view.deleted), s.popped
	}
	watch(e)
}
