package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// sessions are users that hold exec sessions open while something is done to a cluster, and use them: each
// sends a byte now and then, and has to get it back. Others run short commands all the time. None has SPDY
// to fall back to.
type sessions struct {
	printer
	config    *rest.Config
	namespace string
	beat      time.Duration
	// ending is the time over which the sessions end. At once, hundreds of them wait a minute or two for a
	// translator of kube-apiserver's to tell them that they have.
	ending time.Duration
	// opening has room for the sessions that open at the same time.
	opening  chan struct{}
	stopping context.Context
	ended    sync.WaitGroup

	up, cut, endedWell, bytes atomic.Int64
	short, shortFailed        atomic.Int64
	slowestEcho, slowestShort atomic.Int64
}

// runSessions prints one JSON object a line: "up" when all are, "now" every second, what fails, "summary" after
// SIGTERM, which ends the sessions' input and so their commands.
func runSessions(flags *flag.FlagSet, args []string) error {
	s := sessions{}
	kubeconfig := flags.String("kubeconfig", os.Getenv("KUBECONFIG"), "the kubeconfig")
	name := flags.String("context", "", "its context; the current one where there is none")
	flags.StringVar(&s.namespace, "namespace", "default", "the pods' namespace")
	pods := flags.String("pods", "", "the pods, with commas between them; they have cat and echo")
	number := flags.Int("sessions", 10, "sessions, over WebSocket v5, that run cat; the pods take turns")
	flags.DurationVar(&s.beat, "beat", time.Second, "time between a session's bytes")
	flags.DurationVar(&s.ending, "ending", 20*time.Second, "time over which the sessions end")
	short := flags.Duration("short", 0, "time between short commands in each pod; none where it is 0")
	atOnce := flags.Int("at-once", 8, "sessions that open at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if s.config, err = configOf(*kubeconfig, *name); err != nil {
		return err
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s.stopping, s.opening = stopping, make(chan struct{}, *atOnce)
	names, start := strings.Split(*pods, ","), time.Now()
	for i := range *number {
		s.ended.Go(func() { s.hold(names[i%len(names)], i) })
	}
	if *short > 0 {
		for _, pod := range names {
			s.ended.Go(func() { s.shorts(pod, *short) })
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for told := false; stopping.Err() == nil; {
		if !told && int(s.up.Load()) == *number {
			told = true
			s.print(map[string]any{"event": "up", "sessions": *number, "seconds": time.Since(start).Seconds()})
		}
		select {
		case <-stopping.Done():
		case <-tick.C:
			s.tell("now", *number)
		}
	}
	all := make(chan struct{})
	go func() { s.ended.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(4 * time.Minute):
		// Those that do not end are in the summary, too: they did not end well.
	}
	s.tell("summary", *number)
	return nil
}

func (s *sessions) tell(event string, number int) {
	s.print(map[string]any{"event": event, "sessions": number, "up": s.up.Load(), "cut": s.cut.Load(), "ended_well": s.endedWell.Load(),
		"bytes": s.bytes.Load(), "short": s.short.Load(), "short_failed": s.shortFailed.Load(),
		"slowest_echo": float64(s.slowestEcho.Load()) / 1e6, "slowest_short": float64(s.slowestShort.Load()) / 1e6})
}

// exec runs a command in a pod.
func (s *sessions) exec(ctx context.Context, pod string, options remotecommand.StreamOptions, command ...string) error {
	query := url.Values{"stdout": {"true"}, "command": command}
	if options.Stdin != nil {
		query.Set("stdin", "true")
	}
	target := fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/exec?%s", strings.TrimRight(s.config.Host, "/"), s.namespace, pod, query.Encode())
	executor, err := remotecommand.NewWebSocketExecutor(s.config, http.MethodGet, target)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, options)
}

// hold holds one session until its end.
func (s *sessions) hold(pod string, number int) {
	select {
	case <-s.stopping.Done():
		return
	case s.opening <- struct{}{}:
	}
	input, output := io.Pipe()
	e := &echo{back: make(chan struct{}, 1)}
	over := make(chan struct{})
	s.ended.Go(func() { s.beats(e, output, over) })
	err := s.exec(context.Background(), pod, remotecommand.StreamOptions{Stdin: input, Stdout: e}, "cat")
	close(over)
	_ = input.CloseWithError(io.ErrClosedPipe)
	sent, got, wrong := e.counts()
	switch {
	case err == nil && !e.atItsEnd():
		err = errors.New("it ended with exit code 0 before its input did")
	case err == nil && wrong:
		err = errors.New("other bytes came back")
	case err == nil && sent != got:
		err = fmt.Errorf("%d of %d bytes came back", got, sent)
	}
	if err == nil {
		s.endedWell.Add(1)
		return
	}
	s.cut.Add(1)
	s.print(map[string]any{"event": "cut", "session": number, "pod": pod, "sent": sent, "got": got, "error": err.Error()})
}

// beats sends a session's bytes, each once the one before has come back.
func (s *sessions) beats(e *echo, output *io.PipeWriter, over <-chan struct{}) {
	defer output.Close()
	tick := time.NewTicker(s.beat)
	defer tick.Stop()
	for first := true; ; first = false {
		start := time.Now()
		if _, err := output.Write([]byte{e.next()}); err != nil {
			if first {
				<-s.opening
			}
			return
		}
		back := false
		select {
		case <-over:
		case <-e.back:
			back = true
			s.bytes.Add(1)
		}
		if first {
			<-s.opening
		}
		if !back {
			return
		}
		if first {
			s.up.Add(1)
		} else if s.stopping.Err() == nil {
			most(&s.slowestEcho, time.Since(start))
		}
		select {
		case <-over:
			return
		case <-s.stopping.Done():
			select {
			case <-over:
			case <-time.After(rand.N(max(s.ending, 1))):
				e.end()
			}
			return
		case <-tick.C:
		}
	}
}

// shorts runs short commands in a pod, one after another.
func (s *sessions) shorts(pod string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for s.stopping.Err() == nil {
		var told bytes.Buffer
		start := time.Now()
		err := s.exec(context.Background(), pod, remotecommand.StreamOptions{Stdout: &told}, "echo", "hi")
		if err == nil && told.String() != "hi\n" {
			err = fmt.Errorf("it said %q", told.String())
		}
		s.short.Add(1)
		// At the end all sessions' commands end at once, which is a load of its own.
		if s.stopping.Err() == nil {
			most(&s.slowestShort, time.Since(start))
		}
		if err != nil {
			s.shortFailed.Add(1)
			s.print(map[string]any{"event": "short-failed", "pod": pod, "error": err.Error()})
		}
		select {
		case <-s.stopping.Done():
		case <-tick.C:
		}
	}
}

// most keeps the longest time.
func most(longest *atomic.Int64, time time.Duration) {
	for now := longest.Load(); int64(time) > now && !longest.CompareAndSwap(now, int64(time)); now = longest.Load() {
	}
}

// echo checks what comes back of a session's bytes, which are letters in their order.
type echo struct {
	lock      sync.Mutex
	sent, got int
	wrong     bool
	// inputEnds is set before the session's input is closed, which ends its command.
	inputEnds bool
	back      chan struct{}
}

func letter(number int) byte { return 'a' + byte(number%26) }

// next is the byte to send.
func (e *echo) next() byte {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.sent++
	return letter(e.sent - 1)
}

func (e *echo) end() {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.inputEnds = true
}

func (e *echo) atItsEnd() bool {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.inputEnds
}

func (e *echo) counts() (sent, got int, wrong bool) {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.sent, e.got, e.wrong
}

func (e *echo) Write(p []byte) (int, error) {
	e.lock.Lock()
	defer e.lock.Unlock()
	for _, b := range p {
		e.wrong = e.wrong || b != letter(e.got) || e.got >= e.sent
		e.got++
		select {
		case e.back <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}
