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
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

// A load is what a measurement asks of one server.
type load struct {
	url      string
	direct   string
	api      bool
	spdy     bool
	http2    bool
	pid      int
	mib      int64
	sessions int
	rounds   int
}

// A result is printed as JSON; what was not measured is 0.
type result struct {
	MiB        float64 `json:"mib,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"`
	CPUSeconds float64 `json:"cpu_seconds"`
	// Sessions are requests, connections, watches or events where the mode is about these.
	Sessions     int     `json:"sessions,omitempty"`
	DirectP50    float64 `json:"direct_p50_us,omitempty"`
	DirectP99    float64 `json:"direct_p99_us,omitempty"`
	P50          float64 `json:"p50_us,omitempty"`
	P99          float64 `json:"p99_us,omitempty"`
	KiBAnSession float64 `json:"kib_per_session,omitempty"`
}

func runLoad(flags *flag.FlagSet, args []string) error {
	var l load
	modes := map[string]func() (result, error){"stdout": l.stdout, "stdin": l.stdin, "forward": l.forward,
		"echo": l.echo, "idle": l.idle, "rate": l.rate, "check": l.check,
		"list": l.list, "upload": l.upload, "latency": l.latency, "connect": l.connect, "watch": l.watch, "events": l.events}
	mode := flags.String("mode", "stdout", strings.Join(slices.Sorted(maps.Keys(modes)), ", "))
	flags.StringVar(&l.url, "url", "https://127.0.0.1:21251", "the server, with a kubelet's paths")
	flags.StringVar(&l.direct, "direct", "", "the API server behind it, that latency is held against")
	flags.BoolVar(&l.api, "api", false, "speak to streams as an API server has them (other modes than streams' always do)")
	flags.BoolVar(&l.spdy, "spdy", false, "speak SPDY instead of WebSocket")
	flags.BoolVar(&l.http2, "http2", false, "speak HTTP/2 where the mode is not about streams")
	flags.IntVar(&l.pid, "pid", 0, "the server's process, for its CPU time and memory")
	flags.Int64Var(&l.mib, "mib", 256, "MiB in all (stdout, stdin, forward, list, upload)")
	flags.IntVar(&l.sessions, "sessions", 8, "sessions, connections, clients or watches at once")
	flags.IntVar(&l.rounds, "rounds", 1000, "rounds of echo and latency; sessions of rate, connections of connect; events of each watch")
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
	if measured.CPUSeconds == 0 {
		measured.CPUSeconds = l.cpu() - before
	}
	return json.NewEncoder(os.Stdout).Encode(measured)
}

func (l *load) exec(ctx context.Context, options remotecommand.StreamOptions, command ...string) error {
	config := l.config()
	query := url.Values{"command": command}
	ask := func(wanted bool, kubelet, api string) {
		switch {
		case wanted && l.api:
			query.Set(api, "true")
		case wanted:
			query.Set(kubelet, "1")
		}
	}
	ask(options.Stdin != nil, "input", "stdin")
	ask(options.Stdout != nil, "output", "stdout")
	ask(options.Stderr != nil, "error", "stderr")
	target := l.path("/exec/default/pod/container", "/exec") + "?" + query.Encode()
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

func (l *load) config() rest.Config {
	config := rest.Config{Host: l.url, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	if l.api {
		config.BearerToken = token
	}
	return config
}

// path is the URL of a stream, in the style of the server.
func (l *load) path(kubelet, api string) string {
	if l.api {
		return l.url + podPath + api
	}
	return l.url + kubelet
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

func (l *load) dialer() (httpstream.Dialer, error) {
	config := l.config()
	target, err := url.Parse(l.path("/portForward/default/pod", "/portforward"))
	if err != nil {
		return nil, err
	}
	if !l.spdy {
		return portforward.NewSPDYOverWebsocketDialer(target, &config)
	}
	transport, upgrader, err := spdy.RoundTripperFor(&config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target), nil
}

// forward fetches l.mib MiB, in equal shares, on connections of one port-forward.
func (l *load) forward() (result, error) {
	share := max(l.mib/int64(l.sessions), 1)
	dialer, err := l.dialer()
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

func (l *load) start() *session {
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
	s := l.start()
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
	return result{P50: percentile(times, 50), P99: percentile(times, 99)}, s.close()
}

// percentile tells µs, and sorts.
func percentile(times []time.Duration, percent int) float64 {
	slices.Sort(times)
	return float64(times[len(times)*percent/100].Nanoseconds()) / 1000
}

func (l *load) idle() (result, error) {
	before := l.memory()
	all := make([]*session, l.sessions)
	for i := range all {
		all[i] = l.start()
		if err := all[i].round([]byte{'x'}); err != nil {
			return result{}, fmt.Errorf("session %d: %w", i, err)
		}
	}
	return l.held(before), each(len(all), func(i int) error {
		return errors.Join(all[i].round([]byte{'y'}), all[i].close())
	})
}

// held tells what memory each of l.sessions holds.
func (l *load) held(before int64) result {
	// Buffers that go when a session idles have gone after this.
	time.Sleep(3 * time.Second)
	return result{Sessions: l.sessions, KiBAnSession: float64(l.memory()-before) / float64(l.sessions)}
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
		s := l.start()
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
	var now unix.Timespec
	// The clock of another process's CPU time, as clock_getcpuclockid(3) makes its number.
	if unix.ClockGettime(int32(^l.pid<<3|2), &now) != nil {
		return 0
	}
	return float64(now.Nano()) / 1e9
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
