package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// clients are users of a cluster that hold watches and streams open while something is done to it.
type clients struct {
	config    *rest.Config
	pods      dynamic.ResourceInterface
	namespace string
	pod       string
	changes   changes

	printer
	upWatches, upExecs                        atomic.Int64
	interrupted, resumed, relisted            atomic.Int64
	execsEnded, execsSucceeded, changesFailed atomic.Int64
}

// runClients prints one JSON object a line: "up" when all are, what happens to each, "summary" after SIGTERM.
// It fails where they do not all come up.
func runClients(flags *flag.FlagSet, args []string) error {
	c := clients{}
	kubeconfig := flags.String("kubeconfig", os.Getenv("KUBECONFIG"), "the kubeconfig")
	name := flags.String("context", "", "its context; the current one where there is none")
	flags.StringVar(&c.namespace, "namespace", "default", "the pod's namespace")
	flags.StringVar(&c.pod, "pod", "", "the pod; its annotation "+annotation+" is changed, so that watches have events")
	watches := flags.Int("watches", 10, "watches of the namespace's pods")
	execs := flags.Int("execs", 10, "exec sessions, over WebSocket v5, that run sleep")
	every := flags.Duration("every", 500*time.Millisecond, "time between changes of the pod")
	wait := flags.Duration("up-timeout", 5*time.Minute, "how long all may take to come up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := configOf(*kubeconfig, *name)
	if err != nil {
		return err
	}
	api, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	c.config, c.pods = config, api.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(c.namespace)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// Watches outlive ctx, until they have told the last change.
	watching, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	all, failed := make([]*watcher, *watches), make(chan error, *watches+*execs)
	for i := range all {
		all[i] = &watcher{clients: &c, number: i}
		go func() { failed <- all[i].run(watching) }()
	}
	for i := range *execs {
		go func() { failed <- c.exec(ctx, i) }()
	}
	err = until(ctx, *wait, func() (bool, error) {
		select {
		case err := <-failed:
			return false, err
		default:
			return int(c.upWatches.Load()) == *watches && int(c.upExecs.Load()) == *execs, nil
		}
	})
	if err != nil {
		return fmt.Errorf("%d of %d watches and %d of %d execs came up: %w", c.upWatches.Load(), *watches, c.upExecs.Load(), *execs, err)
	}
	c.print(map[string]any{"event": "up", "watches": *watches, "execs": *execs})
	c.change(ctx, *every)

	// The last change is told by all, or they miss it.
	_ = until(context.Background(), time.Minute, func() (bool, error) {
		for _, w := range all {
			if w.behind(c.changes.all()) {
				return false, nil
			}
		}
		return true, nil
	})
	missed := 0
	for _, w := range all {
		missed += w.missed(c.changes.all())
	}
	c.print(map[string]any{"event": "summary", "watches": *watches, "interrupted": c.interrupted.Load(), "resumed": c.resumed.Load(),
		"relisted": c.relisted.Load(), "changes": len(c.changes.all()), "changes_failed": c.changesFailed.Load(), "missed": missed,
		"execs": *execs, "execs_ended": c.execsEnded.Load(), "execs_succeeded": c.execsSucceeded.Load()})
	return nil
}

// configOf reads a kubeconfig. Requests are not held back.
func configOf(kubeconfig, context string) (*rest.Config, error) {
	rules := clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&rules, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// printer prints what a process tells, from whichever goroutine.
type printer struct{ printing sync.Mutex }

func (p *printer) print(line map[string]any) {
	p.printing.Lock()
	defer p.printing.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

// until waits for a condition.
func until(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if is, err := done(); is || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// exec holds a session, and tells how it ends where that was not for ctx. Its first output says that it is up.
func (c *clients) exec(ctx context.Context, number int) error {
	query := url.Values{"stdout": {"true"}, "command": {"/bin/sh", "-c", "echo up; exec sleep 100000"}}
	target := fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/exec?%s", strings.TrimRight(c.config.Host, "/"), c.namespace, c.pod, query.Encode())
	executor, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, target)
	if err != nil {
		return err
	}
	up := first{told: func() { c.upExecs.Add(1) }}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &up})
	if ctx.Err() != nil {
		return nil
	}
	c.execsEnded.Add(1)
	line := map[string]any{"event": "exec-end", "exec": number, "success": err == nil}
	if err == nil {
		c.execsSucceeded.Add(1)
		err = errors.New("exit code 0")
	}
	var coded exec.CodeExitError
	if errors.As(err, &coded) {
		line["code"] = coded.Code
	}
	line["error"] = err.Error()
	c.print(line)
	return fmt.Errorf("exec %d ended: %w", number, err)
}

// first tells once that something was written.
type first struct {
	once sync.Once
	told func()
}

func (f *first) Write(p []byte) (int, error) { f.once.Do(f.told); return len(p), nil }
