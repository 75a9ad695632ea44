// The registry of go-containerregistry, which `crane registry serve` runs too, with what that command can't switch on.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:5000", "where to listen")
	referrers := flag.Bool("referrers", false, "answer the referrers API")
	cert := flag.String("tls-cert", "", "certificate for TLS")
	key := flag.String("tls-key", "", "key of the certificate")
	flag.Parse()
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	handler := registry.New(registry.WithReferrersSupport(*referrers), quiet)
	if *cert != "" {
		log.Fatal(http.ListenAndServeTLS(*addr, *cert, *key, handler))
	}
	log.Fatal(http.ListenAndServe(*addr, handler))
}
