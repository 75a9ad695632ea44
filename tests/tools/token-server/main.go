// A token server as distribution's token authentication wants one: it takes Basic credentials and gives out a JWT,
// signed with a key that it makes when it starts, that allows what was asked for.
package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"
)

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

type signer struct {
	key  *rsa.PrivateKey
	leaf []byte
}

func newSigner(bundle string) (*signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "token-server"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	// Under its own name only when it is complete: the registry waits for it.
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})
	if err := os.WriteFile(bundle+".new", text, 0o644); err != nil {
		return nil, err
	}
	return &signer{key, leaf}, os.Rename(bundle+".new", bundle)
}

func (s *signer) sign(claims map[string]any) (string, error) {
	header := map[string]any{"typ": "JWT", "alg": "RS256", "x5c": []string{base64.StdEncoding.EncodeToString(s.leaf)}}
	parts := make([]string, 0, 3)
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), "."), nil
}

// parse reads `repository:team/app:pull,push`, several of them in one value or in several.
func parse(scopes []string) []access {
	all := []access{}
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		at := strings.LastIndex(rest, ":")
		if at < 0 {
			continue
		}
		all = append(all, access{kind, rest[:at], strings.Split(rest[at+1:], ",")})
	}
	return all
}

func main() {
	addr := flag.String("addr", "127.0.0.1:5001", "where to listen")
	bundle := flag.String("bundle", "token.crt", "where the certificate for the registry's rootcertbundle goes")
	issuer := flag.String("issuer", "test-issuer", "iss of the tokens")
	user := flag.String("user", "user", "who gets tokens")
	password := flag.String("password", "secret", "with which password")
	life := flag.Duration("life", 5*time.Minute, "how long tokens live")
	claimed := flag.Duration("claimed", 5*time.Minute, "how long it says they live")
	cert := flag.String("tls-cert", "", "certificate for TLS")
	key := flag.String("tls-key", "", "key of the certificate")
	flag.Parse()

	signer, err := newSigner(*bundle)
	if err != nil {
		log.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, secret, _ := r.BasicAuth()
		if name != *user || secret != *password {
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`, http.StatusUnauthorized)
			return
		}
		now := time.Now()
		query := r.URL.Query()
		token, err := signer.sign(map[string]any{
			"iss": *issuer, "sub": name, "aud": query.Get("service"), "jti": fmt.Sprint(now.UnixNano()),
			"iat": now.Add(-time.Hour).Unix(), "nbf": now.Add(-time.Hour).Unix(), "exp": now.Add(*life).Unix(),
			"access": parse(query["scope"]),
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(claimed.Seconds())})
	})
	if *cert != "" {
		log.Fatal(http.ListenAndServeTLS(*addr, *cert, *key, handler))
	}
	log.Fatal(http.ListenAndServe(*addr, handler))
}
