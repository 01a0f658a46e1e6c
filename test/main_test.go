// Package test holds the tests of the whole program, as users have it, against real servers: Dovecot from Debian, and
// the built-in one where a real one would take too long. It reads what was stored by means of its own, and by other
// programs' (Dovecot's IMAP, Python's mailbox module, mutt).
package test

import (
	"os"
	"testing"

	"github.com/popfetchd/popfetchd/test/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }
