package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// What loads of an API server send: as no user in particular, on one pod.
const (
	token   = "load"
	podPath = "/api/v1/namespaces/default/pods/pod"
)

// client makes connections as client-go does, and of its own. A list is not compressed, so that its bytes
// are those that were asked for.
func (l *load) client() *http.Client {
	protocols := []string{"http/1.1"}
	if l.http2 {
		protocols = []string{"h2", "http/1.1"}
	}
	transport := http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}}
	return &http.Client{Transport: utilnet.SetTransportDefaults(&transport)}
}

// request returns when the answer's head is there.
func (l *load) request(ctx context.Context, client *http.Client, method, url string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || (response.ProtoMajor == 2) != l.http2 {
		response.Body.Close()
		return nil, fmt.Errorf("%s %s: %s %s", method, url, response.Proto, response.Status)
	}
	return response, nil
}

// get reads a whole answer, and tells its length.
func (l *load) get(client *http.Client, url string) (int64, error) {
	response, err := l.request(context.Background(), client, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	length, err := io.Copy(io.Discard, response.Body)
	if err == nil && length == 0 {
		err = errors.New("an empty answer")
	}
	return length, err
}

// list reads l.mib MiB of lists of 1 MiB in l.sessions clients.
func (l *load) list() (result, error) {
	var got atomic.Int64
	err := each(l.sessions, func(int) error {
		client := l.client()
		defer client.CloseIdleConnections()
		for range l.mib / int64(l.sessions) {
			length, err := l.get(client, l.url+"/api/v1/pods?kib=1024")
			if err != nil {
				return err
			}
			got.Add(length)
		}
		return nil
	})
	return result{MiB: float64(got.Load()) / (1 << 20)}, err
}

// upload sends l.mib MiB in bodies of 1 MiB.
func (l *load) upload() (result, error) {
	share := l.mib / int64(l.sessions)
	body := make([]byte, 1<<20)
	return result{MiB: float64(share * int64(l.sessions))}, each(l.sessions, func(int) error {
		client := l.client()
		defer client.CloseIdleConnections()
		for range share {
			response, err := l.request(context.Background(), client, http.MethodPost, l.url+"/api/v1/namespaces/default/pods", bytes.NewReader(body))
			if err != nil {
				return err
			}
			said, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && !strings.Contains(string(said), fmt.Sprintf(`"%d bytes"`, len(body))) {
				err = fmt.Errorf("the upload was answered %s", said)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// latency tells how much longer a small read takes than from the API server itself. Both take turns, on
// one connection each that is warm.
func (l *load) latency() (result, error) {
	const warm = 50
	type side struct {
		client *http.Client
		url    string
		times  []time.Duration
	}
	through, direct := &side{client: l.client(), url: l.url}, &side{client: l.client(), url: l.direct}
	for round := range warm + l.rounds {
		for _, side := range []*side{through, direct} {
			start := time.Now()
			if _, err := l.get(side.client, side.url+podPath); err != nil {
				return result{}, err
			}
			if round >= warm {
				side.times = append(side.times, time.Since(start))
			}
		}
	}
	told := result{Sessions: warm + l.rounds, DirectP50: percentile(direct.times, 50), DirectP99: percentile(direct.times, 99)}
	told.P50 = percentile(through.times, 50) - told.DirectP50
	told.P99 = percentile(through.times, 99) - told.DirectP99
	return told, nil
}

// connect makes a connection for each small read.
func (l *load) connect() (result, error) {
	per := l.rounds / l.sessions
	return result{Sessions: per * l.sessions}, each(l.sessions, func(int) error {
		for range per {
			client := l.client()
			_, err := l.get(client, l.url+podPath)
			client.CloseIdleConnections()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// open starts watches of one client: over a connection each in HTTP/1.1, over as many as the server's
// limit of streams makes in HTTP/2.
func (l *load) open(ctx context.Context, query string) ([]io.ReadCloser, error) {
	client, watches := l.client(), make([]io.ReadCloser, l.sessions)
	for i := range watches {
		response, err := l.request(ctx, client, http.MethodGet, l.url+"/api/v1/pods?watch=true"+query, nil)
		if err != nil {
			return nil, fmt.Errorf("watch %d: %w", i, err)
		}
		watches[i] = response.Body
	}
	return watches, nil
}

// watch holds watches that tell nothing.
func (l *load) watch() (result, error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	before := l.memory()
	watches, err := l.open(ctx, "")
	if err != nil {
		return result{}, err
	}
	var ended atomic.Int64
	for _, watch := range watches {
		go func() { _, _ = watch.Read(make([]byte, 1)); ended.Add(1) }()
	}
	told := l.held(before)
	if lost := ended.Load(); lost > 0 {
		err = fmt.Errorf("%d of %d watches ended", lost, len(watches))
	}
	return told, err
}

// events reads l.rounds events of 4 KiB from each of l.sessions watches, which tell one each 5 ms.
func (l *load) events() (result, error) {
	watches, err := l.open(context.Background(), fmt.Sprintf("&every=5&events=%d", l.rounds))
	if err != nil {
		return result{}, err
	}
	before := l.cpu()
	err = each(len(watches), func(i int) error {
		defer watches[i].Close()
		var got lines
		if _, err := io.Copy(&got, watches[i]); err != nil {
			return err
		}
		if int(got) != l.rounds {
			return fmt.Errorf("watch %d told %d of %d events", i, got, l.rounds)
		}
		return nil
	})
	return result{Sessions: l.sessions * l.rounds, CPUSeconds: l.cpu() - before}, err
}

type lines int

func (n *lines) Write(p []byte) (int, error) {
	*n += lines(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}
