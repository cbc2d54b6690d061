package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
)

// A load is what a measurement asks of one server.
type load struct {
	url      string
	spdy     bool
	pid      int
	mib      int64
	sessions int
	rounds   int
}

// A result is printed as JSON; what was not measured is 0.
type result struct {
	MiB          float64 `json:"mib,omitempty"`
	Seconds      float64 `json:"seconds,omitempty"`
	CPUSeconds   float64 `json:"cpu_seconds"`
	Sessions     int     `json:"sessions,omitempty"`
	P50          float64 `json:"p50_us,omitempty"`
	P99          float64 `json:"p99_us,omitempty"`
	KiBAnSession float64 `json:"kib_per_session,omitempty"`
}

func runLoad(flags *flag.FlagSet, args []string) error {
	var l load
	modes := map[string]func() (result, error){"stdout": l.stdout, "stdin": l.stdin, "forward": l.forward,
		"echo": l.echo, "idle": l.idle, "rate": l.rate, "check": l.check}
	mode := flags.String("mode", "stdout", "stdout, stdin, forward, echo, idle, rate or check")
	flags.StringVar(&l.url, "url", "https://127.0.0.1:21251", "the server, with a kubelet's paths")
	flags.BoolVar(&l.spdy, "spdy", false, "speak SPDY instead of WebSocket")
	flags.IntVar(&l.pid, "pid", 0, "the server's process, for its CPU time and memory")
	flags.Int64Var(&l.mib, "mib", 256, "MiB in all (stdout, stdin, forward)")
	flags.IntVar(&l.sessions, "sessions", 8, "sessions or connections at once")
	flags.IntVar(&l.rounds, "rounds", 1000, "rounds of echo; sessions of rate")
	if err := flags.Parse(args); err != nil {
		return err
	}
	run := modes[*mode]
	if run == nil {
		return fmt.Errorf("unknown -mode %q", *mode)
	}
	before, start := l.cpu(), time.Now()
	measured, err := run()
	if err != nil {
		return err
	}
	if measured.Seconds == 0 {
		measured.Seconds = time.Since(start).Seconds()
	}
	measured.CPUSeconds = l.cpu() - before
	return json.NewEncoder(os.Stdout).Encode(measured)
}

func (l *load) exec(ctx context.Context, options remotecommand.StreamOptions, command ...string) error {
	query := url.Values{"command": command}
	for name, wanted := range map[string]bool{"input": options.Stdin != nil, "output": options.Stdout != nil, "error": options.Stderr != nil} {
		if wanted {
			query.Set(name, "1")
		}
	}
	config := rest.Config{Host: l.url, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	target := l.url + "/exec/default/pod/container?" + query.Encode()
	parsed, err := url.Parse(target)
	if err != nil {
		return err
	}
	var executor remotecommand.Executor
	if l.spdy {
		executor, err = remotecommand.NewSPDYExecutor(&config, "POST", parsed)
	} else {
		executor, err = remotecommand.NewWebSocketExecutor(&config, "GET", target)
	}
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, options)
}

// each runs work n times at once, and tells the first error.
func each(n int, work func(int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = work(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func (l *load) stdout() (result, error) {
	share := l.mib << 20 / int64(l.sessions)
	return result{MiB: float64(l.mib)}, each(l.sessions, func(int) error {
		var got counter
		err := l.exec(context.Background(), remotecommand.StreamOptions{Stdout: &got}, "zero", strconv.FormatInt(share, 10))
		if err == nil && int64(got) != share {
			err = fmt.Errorf("%d of %d bytes arrived", got, share)
		}
		return err
	})
}

type nothing struct{}

func (nothing) Read(p []byte) (int, error) { return len(p), nil }

func (l *load) stdin() (result, error) {
	share := l.mib << 20 / int64(l.sessions)
	return result{MiB: float64(l.mib)}, each(l.sessions, func(int) error {
		var said bytes.Buffer
		in := io.LimitReader(nothing{}, share)
		err := l.exec(context.Background(), remotecommand.StreamOptions{Stdin: in, Stdout: &said}, "count")
		if got := strings.TrimSpace(said.String()); err == nil && got != strconv.FormatInt(share, 10) {
			err = fmt.Errorf("%s of %d bytes arrived", got, share)
		}
		return err
	})
}

// forward fetches l.mib MiB, in equal shares, on connections of one port-forward.
func (l *load) forward() (result, error) {
	share := max(l.mib/int64(l.sessions), 1)
	target, err := url.Parse(l.url + "/portForward/default/pod")
	if err != nil {
		return result{}, err
	}
	config := rest.Config{Host: l.url, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	dialer, err := portforward.NewSPDYOverWebsocketDialer(target, &config)
	if err != nil {
		return result{}, err
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	defer close(stop)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", share)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return result{}, err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return result{}, fmt.Errorf("port-forward ended: %w", err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return result{}, err
	}
	return result{MiB: float64(share) * float64(l.sessions)}, each(l.sessions, func(int) error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
		if err != nil {
			return err
		}
		defer conn.Close()
		got, err := io.Copy(io.Discard, conn)
		if err == nil && got != share<<20 {
			err = fmt.Errorf("%d of %d bytes arrived", got, share<<20)
		}
		return err
	})
}

// A session is an exec of echo.
type session struct {
	in   *io.PipeWriter
	out  *io.PipeReader
	done chan error
}

func (l *load) open() *session {
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	s := &session{inWrite, outRead, make(chan error, 1)}
	go func() {
		err := l.exec(context.Background(), remotecommand.StreamOptions{Stdin: inRead, Stdout: outWrite}, "echo")
		inRead.CloseWithError(errors.Join(err, io.EOF))
		outWrite.CloseWithError(errors.Join(err, io.EOF))
		s.done <- err
	}()
	return s
}

func (s *session) round(data []byte) error {
	sent := make(chan error, 1)
	go func() { _, err := s.in.Write(data); sent <- err }()
	back := make([]byte, len(data))
	_, err := io.ReadFull(s.out, back)
	if err = errors.Join(err, <-sent); err == nil && sha256.Sum256(back) != sha256.Sum256(data) {
		err = errors.New("other bytes came back")
	}
	return err
}

func (s *session) close() error {
	s.in.Close()
	_, _ = io.Copy(io.Discard, s.out)
	return <-s.done
}

func (l *load) echo() (result, error) {
	s := l.open()
	times := make([]time.Duration, 0, l.rounds)
	for range l.rounds {
		start := time.Now()
		if _, err := s.in.Write([]byte{'x'}); err != nil {
			return result{}, err
		}
		if _, err := io.ReadFull(s.out, make([]byte, 1)); err != nil {
			return result{}, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	at := func(percent int) float64 { return float64(times[len(times)*percent/100].Nanoseconds()) / 1000 }
	return result{P50: at(50), P99: at(99)}, s.close()
}

func (l *load) idle() (result, error) {
	before := l.memory()
	all := make([]*session, l.sessions)
	for i := range all {
		all[i] = l.open()
		if err := all[i].round([]byte{'x'}); err != nil {
			return result{}, fmt.Errorf("session %d: %w", i, err)
		}
	}
	// Buffers that go when a session idles have gone after this.
	time.Sleep(3 * time.Second)
	held := float64(l.memory()-before) / float64(l.sessions)
	return result{Sessions: l.sessions, KiBAnSession: held}, each(len(all), func(i int) error {
		return errors.Join(all[i].round([]byte{'y'}), all[i].close())
	})
}

func (l *load) rate() (result, error) {
	per := l.rounds / l.sessions
	return result{Sessions: per * l.sessions}, each(l.sessions, func(int) error {
		for range per {
			var got counter
			err := l.exec(context.Background(), remotecommand.StreamOptions{Stdout: &got}, "zero", "1")
			if err != nil || got != 1 {
				return fmt.Errorf("%d bytes, %w", got, err)
			}
		}
		return nil
	})
}

// check runs sessions at once, each with random data of odd sizes that must come back as it was.
func (l *load) check() (result, error) {
	return result{Sessions: l.sessions}, each(l.sessions, func(i int) error {
		random := rand.New(rand.NewPCG(uint64(i), 7))
		s := l.open()
		for range 4 {
			data := make([]byte, 1+random.IntN(48<<10))
			for at := range data {
				data[at] = byte(random.Uint32())
			}
			if err := s.round(data); err != nil {
				return fmt.Errorf("session %d: %w", i, err)
			}
		}
		return s.close()
	})
}

// cpu is the process's time so far, user and system, in seconds.
func (l *load) cpu() float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// memory is the process's resident memory in KiB.
func (l *load) memory() int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.pid))
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			value, _ := strconv.ParseInt(fields[1], 10, 64)
			return value
		}
	}
	return 0
}
