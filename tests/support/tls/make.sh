#!/bin/sh
# Makes the certificates of the TLS tests anew, in this directory. The CA's key is thrown away.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/index"
cat >"$work/conf" <<CONF
[ca]
default_ca = tests
[tests]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[leaf]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1
CONF
request() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1" -out "$work/csr" -subj "/CN=$2"
}
sign() {
  openssl ca -batch -notext -config "$work/conf" -in "$work/csr" -startdate 20240101000000Z \
    -enddate 21240101000000Z "$@"
}
request "$work/ca.key" 'gimg test CA'
sign -selfsign -keyfile "$work/ca.key" -extensions root -out ca.pem
request server.key 'gimg test server'
sign -cert ca.pem -keyfile "$work/ca.key" -extensions leaf -out server.pem
chmod 644 server.key
