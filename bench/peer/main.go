// Command peer is upstream Kubernetes' own side of a measurement, from its published modules:
//
//	peer kubelet   the CRI streaming server on a kubelet's paths, over commands that need no container
//	peer proxy     kube-apiserver's stream translator and tunnel, on a kubelet's paths
//	peer apiserver what a load needs of an API server 1.28, before peer kubelet
//	peer load      client-go's executors and connections, as a load; prints one JSON object
//	peer clients   watches and exec sessions of client-go's that outlive what is done to a cluster
//	peer sessions  exec sessions of client-go's in several pods that are used all through it
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	verbs := map[string]func(*flag.FlagSet, []string) error{"kubelet": runKubelet, "proxy": runProxy, "load": runLoad, "apiserver": runAPIServer, "clients": runClients, "sessions": runSessions}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peer kubelet|proxy|apiserver|load|clients|sessions [flags]; peer VERB -h tells the flags")
		os.Exit(64)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	if err := verbs[os.Args[1]](flags, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "peer %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// serve serves handler over TLS and HTTP/1.1, with a certificate made now.
func serve(address string, handler http.Handler) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "peer"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(48 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return err
	}
	server := http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		// Upgrades need HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	return server.ListenAndServeTLS("", "")
}
