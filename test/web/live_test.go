package web

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// served is where the daemon's log says that the page is.
var served = regexp.MustCompile(`the status page is served.*listen="?(127\.0\.0\.1:\d+)`)

// startDaemon runs the program as a daemon with a status page, and returns the page's address. The end of the test ends it.
func startDaemon(t *testing.T, a program.Account) string {
	t.Helper()
	file, err := os.ReadFile(a.Config())
	if err == nil {
		err = os.WriteFile(a.Config(), append([]byte("listen: 127.0.0.1:0\n"), file...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	command := a.Command()
	log, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	address, ended := make(chan string, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(log); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			if at := served.FindStringSubmatch(lines.Text()); at != nil {
				address <- "http://" + at[1] + "/"
			}
		}
		ended <- all.String()
	}()
	t.Cleanup(func() { stopDaemon(t, command, ended) })
	select {
	case at := <-address:
		return at
	case said := <-ended:
		ended <- said
		t.Fatal("the daemon has ended: ", said)
		return ""
	}
}

func stopDaemon(t *testing.T, command *exec.Cmd, ended <-chan string) {
	t.Helper()
	_ = command.Process.Signal(syscall.SIGTERM)
	said := <-ended
	if err := command.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// letter is a message of some size.
func letter(i int) popsim.Message {
	return popsim.Message{Body: fmt.Appendf(nil, "From: Ann <ann@example.net>\r\nSubject: number %d\r\n\r\n%s", i, strings.Repeat("some text\r\n", 2000))}
}

// A page that is open shows how far a run has come and what came of it, and its buttons have runs begin, all without being loaded
// again: what is open in it stays open.
func TestLivePage(t *testing.T) {
	held, letGo := make(chan struct{}), make(chan struct{})
	server, account := program.Serve(t, popsim.Config{Mode: popsim.NoTLS}, func(yield func(popsim.Message) bool) {
		for i := range 10 {
			if !yield(letter(i)) {
				return
			}
		}
	})
	server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Session == 1 && r.Command == "RETR" && r.Message == 7 {
			close(held)
			<-letGo
		}
		return popsim.Action{}
	})
	a := program.New(t, "maildir", append(program.AtSim(t, server, popsim.NoTLS), `schedule: "@weekly"`, "pipelining: off")...)
	address := startDaemon(t, a)
	b := startBrowser(t)
	b.looks(1440, false)
	b.do(chromedp.Navigate(address))
	<-held
	b.until(`document.querySelector(".account.running .now .text")?.textContent.startsWith("6 of 10 messages")`)
	if percent := read[float64](b, `document.querySelector("progress:not([hidden])").value`); percent < 55 || percent > 65 {
		t.Errorf("the bar stands at %f %%", percent)
	}
	b.do(chromedp.Click(chromedp.CSS("#account-test summary")))
	b.until(`document.querySelector("details").open`)
	read[bool](b, `window.loadedOnce = true`)
	close(letGo)
	b.until(`document.querySelector("#account-test.fine .stored")?.textContent.includes("10")`)
	b.until(`document.querySelectorAll(".mail tbody tr").length === 10`)
	if !read[bool](b, `document.querySelector("details").open && document.querySelector("progress").hidden`) {
		t.Error("what was open is closed, or the bar of a run that is over is shown")
	}

	account.Deliver(letter(10))
	b.do(chromedp.Click(chromedp.CSS("#account-test form button")))
	b.until(`document.querySelector(".mail").textContent.includes("number 10")`)
	account.Deliver(letter(11))
	b.do(chromedp.Click(chromedp.CSS(".top form button")))
	b.until(`document.querySelectorAll(".mail tbody tr").length === 12`)
	if !read[bool](b, `window.loadedOnce === true && document.querySelector("details").open`) {
		t.Error("the page was loaded again")
	}
	if got := read[string](b, `document.querySelector(".verdict").textContent`); !strings.Contains(got, "All is well") {
		t.Errorf("the verdict is %q", got)
	}
	b.check()

	server.Close()
	b.do(chromedp.Click(chromedp.CSS("#account-test form button")))
	b.until(`document.querySelector("#account-test.trouble .text")?.textContent.length > 0 && document.title.includes("attention")`)
	b.check()
}

// Without script a button has a run begin, and the page that follows shows it.
func TestFetchWithoutScript(t *testing.T) {
	server, account := program.Serve(t, popsim.Config{Mode: popsim.NoTLS}, func(func(popsim.Message) bool) {})
	quit := make(chan struct{}, 10)
	server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "QUIT" {
			quit <- struct{}{}
		}
		return popsim.Action{}
	})
	a := program.New(t, "maildir", append(program.AtSim(t, server, popsim.NoTLS), `schedule: "@weekly"`)...)
	address := startDaemon(t, a)
	<-quit // the first run, which finds nothing
	b := startBrowser(t)
	b.withoutScript()
	b.do(chromedp.Navigate(address))
	account.Deliver(letter(1))
	b.do(chromedp.Click(chromedp.CSS("#account-test form button")))
	b.do(chromedp.WaitVisible(chromedp.CSS("#account-test:target")))
	<-quit
	for {
		b.do(chromedp.Navigate(address))
		text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(".mail")))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "number 1") {
			break
		}
	}
	b.check()
}
