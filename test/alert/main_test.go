// Package alert holds what users get to hear against what is wrong: the program as users have it, an SMTP server from Debian
// (Exim) with TLS and logins, a POP3 server that refuses and gives in, HTTP servers, scripts, and mailboxes that are verified,
// repaired and taken in anew afterwards.
package alert

import (
	"os"
	"testing"

	"github.com/popfetchd/popfetchd/test/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }
