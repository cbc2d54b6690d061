package main

import (
	"crypto/tls"
	"flag"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

type badGateway struct{}

func (badGateway) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusBadGateway)
}

// runProxy puts kube-apiserver's handlers together as its pod subresources do
// (k8s.io/kubernetes/pkg/registry/core/pod/rest/subresources.go, 1.36).
func runProxy(flags *flag.FlagSet, args []string) error {
	listen := flags.String("listen", "127.0.0.1:21251", "address to serve on")
	upstream := flags.String("upstream", "https://127.0.0.1:21250", "the kubelet's base URL")
	if err := flags.Parse(args); err != nil {
		return err
	}
	base, err := url.Parse(*upstream)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return serve(*listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := *base
		target.Path, target.RawQuery = r.URL.Path, r.URL.RawQuery
		plain := proxy.NewUpgradeAwareHandler(&target, transport, false, true, badGateway{})
		if strings.HasPrefix(r.URL.Path, "/portForward/") {
			tunnel := translator.NewTunnelingHandler(plain)
			translator.NewTranslatingHandler(plain, tunnel, wsstream.IsWebSocketRequestWithTunnelingProtocol).ServeHTTP(w, r)
			return
		}
		wants := func(name string) bool { return r.URL.Query().Get(name) == "1" }
		options := translator.Options{Stdin: wants("input"), Stdout: wants("output"), Stderr: wants("error"), Tty: wants("tty")}
		translate := translator.NewStreamTranslatorHandler(&target, transport, 0, options)
		translator.NewTranslatingHandler(plain, translate, wsstream.IsWebSocketRequestWithStreamCloseProtocol).ServeHTTP(w, r)
	}))
}
