#!/usr/bin/env bash
# Layers with a real program (ko, as it is compiled without flags and without symbols), compressed by gimg in several ways and
# decompressed by containerd's own code: size and time, each way beside gzip in the same rounds. What is measured:
# tests/tools/decode. The table: benches/decode/runs/DATE-HOST/README.md.
#
# Settings (environment): ROUNDS=15, GIMG=target/release/gimg, NAME=date-host
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD

ROUNDS=${ROUNDS:-15}
GIMG=${GIMG:-$root/target/release/gimg}
NAME=${NAME:-$(date +%Y-%m-%d)-$(uname -n | cut -d. -f1)}

die() {
	printf 'bench: %s\n' "$*" >&2
	exit 1
}
for tool in "$GIMG" "$root/.tools/bin/decode"; do
	[ -x "$tool" ] || die "$tool is missing: run make bench-decode"
done

work=$root/target/bench-decode
results=$root/benches/decode/runs/$NAME
rm -rf "$work"
mkdir -p "$work" "$results"
program() { # NAME LDFLAGS
	(cd tests/tools/ko && GOFLAGS='' GOENV=off GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags="$2" -o "$work/$1" github.com/google/ko)
}
program ko ''
program ko-stripped '-s -w'

{
	echo "# Decompression of layers"
	echo
	echo "ko, $(awk '/google.ko v/ { print $2 }' tests/tools/ko/go.mod), $("$GIMG" version | head -1), $(go env GOVERSION), $(nproc) cores,"
	echo "$ROUNDS rounds. Medians, and in brackets the range. \`plain\` is the tar's size in bytes."
	for program in ko ko-stripped; do
		files=()
		for method in gzip zstd gzip:9 zstd:9; do
			file=$work/$program-${method/:/-}
			"$GIMG" layer --quiet --binary "linux/$(go env GOARCH)=$work/$program" --compression "$method" --out "$file" >/dev/null
			files+=("$file")
		done
		for processors in 1 2; do
			printf '\n%s, GOMAXPROCS=%s\n\n' "$program" "$processors"
			GOMAXPROCS=$processors .tools/bin/decode -rounds "$ROUNDS" "${files[@]}"
		done
	done
} >"$results/README.md"
cat "$results/README.md"
