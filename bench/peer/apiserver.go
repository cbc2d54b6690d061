package main

import (
	"bytes"
	"crypto/tls"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/proxy"
)

// podJSON is a pod as a 1.36 API server tells it, with NUMBER as its resource version.
//
//go:embed pod.json
var podJSON []byte

func pod(version int) []byte {
	return bytes.TrimSpace(bytes.Replace(podJSON, []byte("NUMBER"), []byte(strconv.Itoa(version)), 1))
}

// runAPIServer serves what a load needs of an API server 1.28 before a kubelet: reads, lists, watches,
// uploads, and a pod's streams. It is the other end of a measurement, and is not measured.
func runAPIServer(flags *flag.FlagSet, args []string) error {
	listen := flags.String("listen", "127.0.0.1:21252", "address to serve on")
	kubelet := flags.String("kubelet", "https://127.0.0.1:21250", "the kubelet's base URL")
	certificate := flags.String("tls-cert-file", "", "PEM file of the certificate")
	key := flags.String("tls-private-key-file", "", "PEM file of the key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	base, err := url.Parse(*kubelet)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for path, text := range map[string]string{
		"GET /version": `{"major":"1","minor":"28","gitVersion":"v1.28.15"}`,
		"GET /livez":   "ok", "GET /readyz": "ok",
		"GET /metrics": "# HELP kubernetes_feature_enabled Whether a gate is on.\n# TYPE kubernetes_feature_enabled gauge\n",
		"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","status":{"allowed":true}}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w, []byte(text))
		})
	}
	pods := "/api/v1/namespaces/{namespace}/pods"
	mux.HandleFunc("GET /api/v1/pods", read)
	mux.HandleFunc("GET "+pods, read)
	mux.HandleFunc("GET "+pods+"/{pod}", func(w http.ResponseWriter, _ *http.Request) { answer(w, pod(1)) })
	mux.HandleFunc("POST "+pods, func(w http.ResponseWriter, r *http.Request) {
		length, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Status","status":"Success","message":"%d bytes"}`, length))
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	stream := func(path string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			target := *base
			target.Path = fmt.Sprintf("/%s/%s/%s", path, r.PathValue("namespace"), r.PathValue("pod"))
			if path != "portForward" {
				target.Path += "/container"
			}
			target.RawQuery = kubeletQuery(r.URL.Query()).Encode()
			proxy.NewUpgradeAwareHandler(&target, transport, false, true, badGateway{}).ServeHTTP(w, r)
		}
	}
	mux.HandleFunc(pods+"/{pod}/exec", stream("exec"))
	mux.HandleFunc(pods+"/{pod}/attach", stream("attach"))
	mux.HandleFunc(pods+"/{pod}/portforward", stream("portForward"))

	// As k8s.io/apiserver/pkg/server/secure_serving.go sets it.
	const body, streams = 256 << 10, 100
	server := http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 32 * time.Second, IdleTimeout: 90 * time.Second,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams, MaxReadFrameSize: body,
			MaxReceiveBufferPerStream: body, MaxReceiveBufferPerConnection: body * streams}}
	return server.ListenAndServeTLS(*certificate, *key)
}

// kubeletQuery names the streams that an API server's query asks for as a kubelet does.
func kubeletQuery(query url.Values) url.Values {
	told := url.Values{}
	for from, to := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
		if wanted, _ := strconv.ParseBool(query.Get(from)); wanted {
			told.Set(to, "1")
		}
	}
	if command := query["command"]; len(command) > 0 {
		told["command"] = command
	}
	return told
}

func answer(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// read answers a list of about `kib` KiB, one pod where it is not told. With `watch`, it answers a
// watch: an event each `every` ms, `events` in all and then the end; for ever none where `every` is 0.
func read(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	number := func(name string) int { n, _ := strconv.Atoi(query.Get(name)); return n }
	w.Header().Set("Content-Type", "application/json")
	if watch, _ := strconv.ParseBool(query.Get("watch")); watch {
		events(w, r, number("every"), number("events"))
		return
	}
	// Chunks are as large as Go's server and an encoder's buffer make them.
	const items = 8
	chunk := bytes.Repeat(append(pod(1), ','), items)
	_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[`)
	for left := number("kib") << 10; left > 0; left -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = w.Write(append(pod(1), "]}\n"...))
}

func events(w http.ResponseWriter, r *http.Request, every, count int) {
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return
	}
	if every == 0 {
		<-r.Context().Done()
		return
	}
	tick := time.NewTicker(time.Duration(every) * time.Millisecond)
	defer tick.Stop()
	for version := 1; version <= count; version++ {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := fmt.Fprintf(w, "{\"type\":\"MODIFIED\",\"object\":%s}\n", pod(version)); err != nil || flush() != nil {
			return
		}
	}
}
