// Package replies holds each refusal that is known of a provider against what a user gets to see of it: the server says
// its line, and the program, as users have it, says one sentence, ends with an exit code and leaves the server alone for as
// long as that refusal asks for. Then the trouble is over, and the mail comes.
package replies

import (
	"os"
	"testing"

	"github.com/popfetchd/popfetchd/test/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }
