package main

import (
	"bytes"
	"net"
	"time"
)

// delayed is a chunk of bytes and the moment at which it arrives.
type delayed struct {
	data    []byte
	arrives time.Time
}

// maxUnderWay bounds the chunks on the way, as a line cannot hold any number
// of bytes; at 64 KiB each it is far more than comes within a round trip.
const maxUnderWay = 4096

// startRelay forwards connections to address over a line of unlimited width on
// which a round trip takes this long. Close the listener to end it.
func startRelay(address string, roundTrip time.Duration) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go relay(client, address, roundTrip)
		}
	}()
	return l, nil
}

// relay carries one connection. It begins a round trip late, as opening a
// connection takes one that the loopback does not show.
func relay(client net.Conn, address string, roundTrip time.Duration) {
	defer client.Close()
	time.Sleep(roundTrip)
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	there := make(chan struct{})
	go func() {
		defer close(there)
		carry(server.(*net.TCPConn), client.(*net.TCPConn), roundTrip/2)
	}()
	carry(client.(*net.TCPConn), server.(*net.TCPConn), roundTrip/2)
	<-there
}

// carry copies one direction to its end: each chunk that was read is written
// a delay later, while more are read.
func carry(to, from *net.TCPConn, delay time.Duration) {
	underWay := make(chan delayed, maxUnderWay)
	go func() {
		defer close(underWay)
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				underWay <- delayed{bytes.Clone(buffer[:n]), time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for chunk := range underWay {
		time.Sleep(time.Until(chunk.arrives))
		if _, err := to.Write(chunk.data); err != nil {
			from.Close() // ends the reader; what it had read is dropped, write by write
		}
	}
	time.Sleep(delay)
	to.CloseWrite()
}
