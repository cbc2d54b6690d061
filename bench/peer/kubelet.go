package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

const chunk = 32 << 10

// running counts the commands and connections of now; GET /running tells it.
var running atomic.Int64

func runKubelet(flags *flag.FlagSet, args []string) error {
	listen := flags.String("listen", "127.0.0.1:21250", "address to serve on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config := streaming.DefaultConfig
	config.Addr = *listen
	config.BaseURL = &url.URL{Scheme: "https", Host: *listen, Path: "/cri/"}
	server, err := streaming.NewServer(config, commands{})
	if err != nil {
		return err
	}
	// A kubelet asks the runtime for a URL, and has the request served there.
	hand := func(w http.ResponseWriter, r *http.Request, target string, err error) {
		parsed, parseErr := url.Parse(target)
		if err = errors.Join(err, parseErr); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.URL.Path = parsed.Path
		server.ServeHTTP(w, r)
	}
	wants := func(r *http.Request, name string) bool { return r.URL.Query().Get(name) == "1" }
	mux := http.NewServeMux()
	mux.Handle("/cri/", server)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := server.GetExec(&cri.ExecRequest{ContainerId: r.PathValue("container"), Cmd: r.URL.Query()["command"],
			Stdin: wants(r, "input"), Stdout: wants(r, "output"), Stderr: wants(r, "error"), Tty: wants(r, "tty")})
		hand(w, r, answer.GetUrl(), err)
	})
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := server.GetAttach(&cri.AttachRequest{ContainerId: r.PathValue("container"),
			Stdin: wants(r, "input"), Stdout: wants(r, "output"), Stderr: wants(r, "error"), Tty: wants(r, "tty")})
		hand(w, r, answer.GetUrl(), err)
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := server.GetPortForward(&cri.PortForwardRequest{PodSandboxId: r.PathValue("pod")})
		hand(w, r, answer.GetUrl(), err)
	})
	mux.HandleFunc("/running", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, running.Load()) })
	return serve(*listen, mux)
}

// commands is a runtime whose commands are functions.
type commands struct{}

type streams struct {
	in       io.Reader
	out, err io.WriteCloser
	resize   <-chan remotecommand.TerminalSize
	number   int64
}

var table = map[string]func(streams) error{
	// N bytes to stdout, or stderr.
	"zero":   func(s streams) error { return zeros(s.out, s.number) },
	"stderr": func(s streams) error { return zeros(s.err, s.number) },
	// Reads stdin to its end, after N seconds, and prints how much it was.
	"count": func(s streams) error {
		time.Sleep(time.Duration(s.number) * time.Second)
		n, err := io.Copy(io.Discard, s.in)
		fmt.Fprintln(s.out, n)
		return err
	},
	"echo": func(s streams) error { return relay(s.out, s.in) },
	// A byte every 100 ms, until nobody takes it.
	"tick": func(s streams) error {
		for {
			if _, err := s.out.Write([]byte{'.'}); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	},
	"exit": func(s streams) error {
		return exec.CodeExitError{Err: fmt.Errorf("the runtime's words for %d", s.number), Code: int(s.number)}
	},
	"size": func(s streams) error {
		size := <-s.resize
		_, err := fmt.Fprintf(s.out, "%dx%d\n", size.Width, size.Height)
		return err
	},
}

func (commands) Exec(_ context.Context, _ string, command []string, in io.Reader, out, errw io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	running.Add(1)
	defer running.Add(-1)
	run, known := table[command[0]]
	if !known {
		return fmt.Errorf("executable %q not found", command[0])
	}
	s := streams{in: in, out: out, err: errw, resize: resize}
	if len(command) > 1 {
		number, err := strconv.ParseInt(command[1], 10, 64)
		if err != nil {
			return err
		}
		s.number = number
	}
	return run(s)
}

func (c commands) Attach(ctx context.Context, id string, in io.Reader, out, errw io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	return c.Exec(ctx, id, []string{"echo"}, in, out, errw, tty, resize)
}

// PortForward refuses port 9999, sends as many MiB as a port below 1024 says, and echoes on others.
func (commands) PortForward(_ context.Context, _ string, port int32, stream io.ReadWriteCloser) error {
	running.Add(1)
	defer running.Add(-1)
	defer stream.Close()
	switch {
	case port == 9999:
		return errors.New("dial tcp 127.0.0.1:9999: connect: connection refused")
	case port < 1024:
		return zeros(stream, int64(port)<<20)
	}
	return relay(stream, stream)
}

// relay copies as a runtime does, without the short cuts that readers and writers may offer.
func relay(to io.Writer, from io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, chunk))
	return err
}

func zeros(to io.Writer, count int64) error {
	for buffer := make([]byte, chunk); count > 0; {
		n, err := to.Write(buffer[:min(count, chunk)])
		if err != nil {
			return err
		}
		count -= int64(n)
	}
	return nil
}
