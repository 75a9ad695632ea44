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
subjectAltName = DNS:localhost,DNS:registry.test,DNS:mirror.test,IP:127.0.0.1
[elsewhere]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:elsewhere.test
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
CONF
new() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1" -out "$work/csr" -subj "/CN=$2"
}
again() {
  openssl req -new -key "$1" -out "$work/csr" -subj "/CN=$2"
}
sign() {
  from=$1 to=$2
  shift 2
  openssl ca -batch -notext -config "$work/conf" -in "$work/csr" -startdate "$from" -enddate "$to" "$@"
}
by_ca() {
  sign "$1" "$2" -cert ca.pem -keyfile "$work/ca.key" -extensions "$3" -out "$4"
}
begin=20240101000000Z end=21240101000000Z
new "$work/ca.key" 'gimg test CA'
sign $begin $end -selfsign -keyfile "$work/ca.key" -extensions root -out ca.pem
new server.key 'gimg test server'
by_ca $begin $end leaf server.pem
again server.key 'gimg test server, expired'
by_ca 20000101000000Z 20010101000000Z leaf expired.pem
again server.key 'gimg test server, too early'
by_ca 21230101000000Z $end leaf early.pem
again server.key 'gimg test server of another host'
by_ca $begin $end elsewhere elsewhere.pem
again server.key 'gimg test server, self-signed'
sign $begin $end -selfsign -keyfile server.key -extensions leaf -out selfsigned.pem
new client.key 'gimg test client'
by_ca $begin $end client client.pem
chmod 644 server.key client.key
