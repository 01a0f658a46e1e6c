package test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes connections on to a server and counts what the server sends.
type relay struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	count int64
	limit int64
	then  func() // called once, when count reaches limit
}

func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, target: target}
	var connections sync.WaitGroup
	connections.Go(func() { r.accept(&connections) })
	t.Cleanup(func() { listener.Close(); connections.Wait() })
	return r
}

func (r *relay) port() string {
	_, port, _ := net.SplitHostPort(r.listener.Addr().String())
	return port
}

// watch begins to count anew, and has then called once when limit bytes have passed.
func (r *relay) watch(limit int64, then func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count, r.limit, r.then = 0, limit, sync.OnceFunc(then)
}

// passed returns how many bytes have passed since watch.
func (r *relay) passed() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *relay) accept(connections *sync.WaitGroup) {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.target)
		if err != nil {
			client.Close()
			continue
		}
		connections.Go(func() { io.Copy(server, client); server.Close() })
		connections.Go(func() { io.Copy(io.MultiWriter(r, client), server); client.Close() })
	}
}

// Write counts bytes before they are passed on: what then does, it does before the client has them.
func (r *relay) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count += int64(len(p)); r.count >= r.limit {
		r.then()
	}
	return len(p), nil
}
