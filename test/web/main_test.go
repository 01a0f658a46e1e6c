package web

import (
	"os"
	"testing"

	"github.com/popfetchd/popfetchd/test/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }
