// Command server is the POP3 server of the tests of the units: popsim as a service in a container. It serves joe's mail on
// port 995 with TLS, and writes the certificate of its authority to the file that it is given.
//
// SIGUSR1 gives joe the next message. SIGUSR2 lets bodies stall in the middle; the next one lets them flow again. It logs
// what it has done, and the commands that it gets.
package main

import (
	"fmt"
	"iter"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// first is how many messages there are at the beginning, and before is how much of one arrives when they stall.
const first, before = 20, 100

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(authority string) error {
	next, stop := iter.Pull(sample.Messages())
	defer stop()
	joe := &popsim.Account{Username: "joe", Password: "s3cret pass"}
	deliver := func() {
		m, _ := next()
		joe.Deliver(m)
	}
	for range first {
		deliver()
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	server, err := popsim.Start("127.0.0.1:995", popsim.Config{
		Accounts: []*popsim.Account{joe}, Log: func(session int, line string) { log.Printf("session %d %s", session, line) },
	})
	if err != nil {
		return err
	}
	defer server.Close()
	if err := os.WriteFile(authority, server.CACertificate(), 0o644); err != nil {
		return err
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("telling systemd: %w", err)
	}
	stalls := false
	for s := range signals {
		switch {
		case s == syscall.SIGUSR1:
			deliver()
			log.Print("a message came")
		case stalls:
			server.SetFault(nil)
			log.Print("bodies flow")
			stalls = false
		default:
			server.SetFault(popsim.On("RETR", 0, popsim.StallInBody(before)))
			log.Print("bodies stall")
			stalls = true
		}
	}
	return nil
}
