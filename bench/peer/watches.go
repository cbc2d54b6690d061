package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

const annotation = "streamway.dev/change"

// changes are the resource versions that changes of the pod got, in order.
type changes struct {
	lock     sync.Mutex
	versions []int64
}

func (c *changes) add(version int64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.versions = append(c.versions, version)
}

func (c *changes) all() []int64 {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.versions
}

// change changes the pod until ctx ends. One that failed may have been made all the same: it need not be
// told by any watch.
func (c *clients) change(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for number := 0; ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// The time makes it a change whatever an earlier run wrote.
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d at %d"}}}`, annotation, number, time.Now().UnixNano())
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		pod, err := c.pods.Patch(call, c.pod, types.MergePatchType, []byte(patch), v1.PatchOptions{})
		cancel()
		if err == nil {
			var version int64
			if version, err = versionOf(pod); err == nil {
				c.changes.add(version)
			}
		}
		if err != nil {
			c.changesFailed.Add(1)
		}
		if err != nil && !failing {
			c.print(map[string]any{"event": "changes-fail", "error": err.Error()})
		}
		failing = err != nil
	}
}

func versionOf(object any) (int64, error) {
	told, err := meta.CommonAccessor(object)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(told.GetResourceVersion(), 10, 64)
}

// A watcher does what an informer's reflector does: it lists, watches from there, and when that ends from
// the last version that it was told, or from a new list where that version is too old.
type watcher struct {
	*clients
	number int
	up     bool
	// since is when it was interrupted.
	since   time.Time
	backoff wait.Backoff

	lock sync.Mutex
	// at is the last version that it was told; 0 asks for a list.
	at int64
	// listed are the versions that a list stands for: those after the first, up to the second.
	listed [][2]int64
	seen   map[int64]bool
}

// run ends with ctx, or with an error where the watch never came up.
func (w *watcher) run(ctx context.Context) error {
	w.seen = map[int64]bool{}
	w.expire()
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !w.up {
			return fmt.Errorf("watch %d: %w", w.number, err)
		}
		if w.since.IsZero() {
			w.since = time.Now()
			w.interrupted.Add(1)
			w.print(map[string]any{"event": "watch-interrupted", "watch": w.number, "reason": err.Error()})
		}
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			w.relisted.Add(1)
			w.expire()
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.backoff.Step()):
		}
	}
}

// follow watches until the watch ends, and tells why.
func (w *watcher) follow(ctx context.Context) error {
	at, err := w.list(ctx)
	if err != nil {
		return err
	}
	options := v1.ListOptions{ResourceVersion: strconv.FormatInt(at, 10), AllowWatchBookmarks: true}
	stream, err := w.pods.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer stream.Stop()
	w.comesUp()
	for event := range stream.ResultChan() {
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		version, err := versionOf(event.Object)
		if err != nil {
			return err
		}
		w.tell(version)
	}
	return errors.New("the watch ended")
}

func (w *watcher) comesUp() {
	// As client-go's reflector waits.
	w.backoff = wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 10, Cap: 30 * time.Second}
	if !w.up {
		w.up = true
		w.upWatches.Add(1)
		return
	}
	w.resumed.Add(1)
	w.print(map[string]any{"event": "watch-resumed", "watch": w.number, "seconds": time.Since(w.since).Seconds()})
	w.since = time.Time{}
}

// list lists where that is due. The version to watch from.
func (w *watcher) list(ctx context.Context) (int64, error) {
	// Only this goroutine changes it.
	if w.at != 0 {
		return w.at, nil
	}
	list, err := w.pods.List(ctx, v1.ListOptions{})
	if err != nil {
		return 0, err
	}
	version, err := versionOf(list)
	if err != nil {
		return 0, err
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.listed[len(w.listed)-1][1] = version
	w.at = version
	return version, nil
}

func (w *watcher) expire() {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.listed, w.at = append(w.listed, [2]int64{w.at, 0}), 0
}

func (w *watcher) tell(version int64) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.seen[version], w.at = true, version
}

// missed counts the changes that came neither as an event nor in a list.
func (w *watcher) missed(all []int64) int {
	w.lock.Lock()
	defer w.lock.Unlock()
	count := 0
	for _, version := range all {
		inList := func(told [2]int64) bool { return told[0] < version && version <= told[1] }
		if !w.seen[version] && !slices.ContainsFunc(w.listed, inList) {
			count++
		}
	}
	return count
}

// behind tells whether the last change is still to come.
func (w *watcher) behind(all []int64) bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	return len(all) > 0 && w.at < all[len(all)-1]
}
