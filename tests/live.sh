#!/usr/bin/env bash
# Tries gimg with a registry of yours: `make live REPO=ghcr.io/me/gimg-live`. It logs in nowhere: your credentials are
# used as they are (docker login, gimg login, a CI's token). The repository gets three tags and what is attached to their
# images, which stay there.
#
#   GIMG=path      the program to try (default: a release build of this tree)
#   LIVE_FLAGS=…   more flags for each push, such as --insecure-registry
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
repo=${REPO:-}
flags=${LIVE_FLAGS:-}
gimg=${GIMG:-$root/target/release/gimg}
if [ -z "$repo" ]; then
	echo "usage: make live REPO=registry.example/me/gimg-live" >&2
	exit 2
fi
command -v go >/dev/null || {
	echo "live: the Go toolchain is missing: gimg calls it to compile" >&2
	exit 2
}
if [ -z "${GIMG:-}" ]; then cargo build --locked --release; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R testdata/go/hello "$work/src"
# A layer that no other run has sent, so that there is something to send.
date +%s%N >"$work/src/cmd/hello/kodata/when.txt"
cd "$work/src"
both="--platform linux/amd64,linux/arm64"

names=()
values=()
failed=0
# step NAME COMMAND…: runs it, with what it says in $work/NAME; its row has yes and the seconds, or no.
step() {
	local name=$1 start now
	shift
	start=$(date +%s%N)
	printf '== %s: %s\n' "$name" "$*"
	names+=("$name")
	if "$@" >"$work/$name" 2>"$work/$name.log"; then
		now=$(date +%s%N)
		values+=("yes, $(printf '%d.%02d' $(((now - start) / 1000000000)) $(((now - start) / 10000000 % 100))) s$(counts "$work/$name.log")")
	else
		values+=("no")
		failed=1
		cat "$work/$name.log" >&2
	fi
}
# How blobs and documents got there, out of what `-v` said.
counts() {
	awk -v to="$repo: " '/^retry:/ { retries++ } /^[0-9]+ requests to registries$/ { asked += $1 } index($0, to) != 1 { next }
		/: put sha256:/ { put++ } /: mounted sha256:/ { mounted++ } /: has sha256:/ { has++ }
		END { if (asked) printf " (%d requests: %d put, %d mounted, %d there, %d retries)", asked, put, mounted, has, retries }' "$1"
}

# shellcheck disable=SC2086
push() { "$gimg" build ./cmd/hello $both --repo "$repo" --bare --tags gimg-live,gimg-live-2 --output registry --output "oci:$work/pushed" -v $flags; }
push_again() {
	push || return 1
	diff "$work/push" "$work/again" || return 1
	! grep -E ': (put|mounted) sha256:' "$work/again.log" >&2
}
# A blob of the pushed layout; its digest goes to standard output.
blob() {
	local hex
	hex=$({ sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -d' ' -f1)
	cp "$1" "$work/pushed/blobs/sha256/$hex"
	echo "sha256:$hex"
}
# Something that refers to the image: gimg makes sure that it is found by it. A second push sends nothing else again.
# shellcheck disable=SC2086
referrer() {
	local empty index size document
	printf '{}' >"$work/empty"
	empty=$(blob "$work/empty")
	index=$work/pushed/blobs/sha256/${digest#sha256:}
	size=$(wc -c <"$index" | tr -d ' ')
	local nothing="{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"$empty\",\"size\":2}"
	local subject="{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"$digest\",\"size\":$size}"
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.gimg.live","config":%s,"layers":[%s],"subject":%s}' \
		"$nothing" "$nothing" "$subject" >"$work/document"
	document=$(blob "$work/document")
	local entry="{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"$document\",\"size\":$(wc -c <"$work/document" | tr -d ' '),\"artifactType\":\"application/vnd.gimg.live\"}"
	sed "s|\"manifests\":\[|&$entry,|" "$work/pushed/index.json" >"$work/index" && mv "$work/index" "$work/pushed/index.json"
	"$gimg" push "$work/pushed" "$repo" -v $flags || return 1
	"$gimg" push "$work/pushed" "$repo" -v $flags 2>"$work/referrer-again.log" || return 1
	grep -qF "$document" "$work/referrer-again.log" &&
		! grep -E ': (put|mounted) sha256:' "$work/referrer-again.log" | grep -vF "$document" >&2
}
# The image as a base: all of it is pulled, not taken from the cache, and each of its layers must be what was pushed.
# shellcheck disable=SC2086
pull() {
	GIMG_CACHE=off "$gimg" build ./cmd/other $both --base "$repo@$digest" --output "oci:$work/pulled" --tags pulled -v $flags || return 1
	local blob found=0
	for blob in "$work/pushed/blobs/sha256"/*; do
		if [ -e "$work/pulled/blobs/sha256/${blob##*/}" ]; then
			cmp "$blob" "$work/pulled/blobs/sha256/${blob##*/}" || return 1
			found=$((found + 1))
		fi
	done
	echo "$found layers are what was pushed"
	[ "$found" -ge 3 ]
}
# shellcheck disable=SC2086
move() {
	"$gimg" build ./cmd/other $both --base "$repo:gimg-live" --repo "$repo" --bare --tags gimg-live-2,gimg-live-derived -v $flags || return 1
	# The tag means the new image now, the other one still the old.
	local now
	now=$("$gimg" build ./cmd/hello $both --base "$repo:gimg-live-2" --dry-run --format json $flags) || return 1
	grep -qF "$(sed 's/.*@//' "$work/move")" <<<"$now"
}
crane=$(PATH=$root/.tools/bin:$PATH command -v crane || true)
validate() {
	"$crane" validate --remote "$repo:gimg-live" && "$crane" validate --remote "$repo@$digest" &&
		[ "$("$crane" digest "$repo:gimg-live")" = "$digest" ]
}

step push push
digest=$(sed 's/.*@//' "$work/push")
if [ $failed = 0 ]; then
	step again push_again
	step referrer referrer
	step pull pull
	step move move
	if [ -n "$crane" ]; then step crane validate; fi
fi

echo
row="| registry"
rule="|---"
value="| ${repo%%/*}"
for i in "${!names[@]}"; do
	row="$row | ${names[$i]}"
	rule="$rule|---"
	value="$value | ${values[$i]}"
done
printf '%s |\n%s|\n%s |\n\n' "$row" "$rule" "$value"
echo "$repo keeps the tags gimg-live, gimg-live-2 and gimg-live-derived: gimg deletes nothing."
exit $failed
