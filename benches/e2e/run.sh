#!/usr/bin/env bash
# From source to an image in a registry: gimg, ko, and (as the floor) plain `go build`, on the
# same tree in the same run. Contenders take turns, in another order each round, so that a slow
# minute of the machine hits all of them. Raw numbers: benches/e2e/runs/DATE-HOST/.
#
# Settings (environment):
#   RUNS=5                      timed rounds of each job, after one that is not timed
#   MODULE=path@version         the program's module, by default caddy
#   TREE=folder                 or a folder to copy instead of MODULE
#   PACKAGE=./cmd/caddy         its main package
#   GIMG=target/release/gimg  KO=.tools/bin/ko
#   CONTENDERS="gimg ko ko-kocache go"
#   NAME=date-host              the folder of the results
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD

RUNS=${RUNS:-5}
MODULE=${MODULE:-github.com/caddyserver/caddy/v2@v2.11.9}
TREE=${TREE:-}
PACKAGE=${PACKAGE:-./cmd/caddy}
GIMG=${GIMG:-$root/target/release/gimg}
KO=${KO:-$root/.tools/bin/ko}
CONTENDERS=${CONTENDERS:-gimg ko ko-kocache go}
NAME=${NAME:-$(date +%Y-%m-%d)-$(uname -n | cut -d. -f1)}
one=linux/amd64
two=linux/amd64,linux/arm64

die() {
	printf 'bench: %s\n' "$*" >&2
	exit 1
}
for tool in "$GIMG" "$KO" "$root/.tools/bin/olareg" "$root/.tools/bin/crane"; do
	[ -x "$tool" ] || die "$tool is missing: run make bench"
done

work=$root/target/bench
tree=$work/tree
results=$root/benches/e2e/runs/$NAME
rm -rf "$work"
mkdir -p "$work/bin" "$work/logs" "$results"

# ---- The tree -----------------------------------------------------------------------------

# No vcs stamp: the copy would be taken for a part of this repository.
export GOFLAGS='-mod=mod -buildvcs=false' GOWORK=off CGO_ENABLED=0 GIT_CEILING_DIRECTORIES=$root/target
if [ -n "$TREE" ]; then
	source=$TREE
	what=$(basename "$TREE")
else
	echo "Getting $MODULE"
	source=$(cd "$work" && go mod download -json "$MODULE" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
	[ -n "$source" ] || die "cannot download $MODULE"
	what=$MODULE
fi
cp -R "$source" "$tree"
chmod -R u+w "$tree"
cd "$tree"
go mod download 2>"$work/logs/download" || die "the tree's modules: $(tail -3 "$work/logs/download")"

# change TEXT: changes one line of the main package, in a way that the linker has to keep.
change() {
	cat >"$PACKAGE/bench_change.go" <<-EOF
		package main

		import "os"

		func init() {
			if len(os.Args) > 100000 {
				println("$1")
			}
		}
	EOF
}
change start

# ---- The registry and the base ------------------------------------------------------------

olareg=
stop() { if [ -n "$olareg" ]; then kill "$olareg" 2>/dev/null || true; fi; }
trap stop EXIT
trap 'exit 1' INT TERM

for _ in 1 2 3 4 5; do
	port=$((20000 + RANDOM % 12000))
	"$root/.tools/bin/olareg" serve --addr 127.0.0.1 --port "$port" --dir "$work/registry" >"$work/logs/olareg" 2>&1 &
	olareg=$!
	for _ in $(seq 100); do
		if curl -sf -o /dev/null "http://127.0.0.1:$port/v2/"; then break 2; fi
		# A taken port ends it: try another.
		kill -0 "$olareg" 2>/dev/null || break
		sleep 0.05
	done
	kill "$olareg" 2>/dev/null || true
	olareg=
done
[ -n "$olareg" ] || die "the registry did not start: $(tail -3 "$work/logs/olareg")"
registry=127.0.0.1:$port

# A base of one small file for both platforms: the benchmark is not about copying bases.
mkdir -p "$work/base/etc"
echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$work/base/etc/passwd"
tar -cf "$work/base.tar" -C "$work/base" etc
crane() { "$root/.tools/bin/crane" "$@" >>"$work/logs/crane" 2>&1; }
for arch in amd64 arm64; do
	crane append --oci-empty-base -f "$work/base.tar" -t "$registry/base:$arch"
	crane mutate --set-platform "linux/$arch" -t "$registry/base:$arch" "$registry/base:$arch"
done
crane index append -m "$registry/base:amd64" -m "$registry/base:arm64" -t "$registry/base:latest"

# ---- The contenders -----------------------------------------------------------------------

# Each takes PLATFORMS.
run_gimg() {
	GIMG_CACHE=$work/gimg-cache "$GIMG" build "$PACKAGE" --base "$registry/base:latest" --repo "$registry/out" --platform "$1"
}
run_ko() {
	KO_DOCKER_REPO=$registry/ko KO_DEFAULTBASEIMAGE=$registry/base:latest \
		"$KO" build "$PACKAGE" --bare --sbom=none --platform "$1"
}
# ko as it comes has no cache of its own; with KOCACHE it keeps binaries and layer digests.
run_ko-kocache() { KOCACHE=$work/kocache run_ko "$1"; }
# Compiles as ko does and makes no image. Its output stays, so `go build` may find it current.
run_go() {
	local platform
	for platform in ${1//,/ }; do
		GOOS=${platform%/*} GOARCH=${platform#*/} go build -trimpath -o "$work/bin/${platform//\//-}" "$PACKAGE"
	done
}

# ---- The runs -----------------------------------------------------------------------------

raw=$results/raw.tsv
printf 'job\tplatforms\tround\tcontender\twall_s\tuser_s\tsys_s\tload1\n' >"$raw"

# timed JOB PLATFORMS ROUND CONTENDER; round 0 is the warm-up and is not written down.
timed() {
	local job=$1 platforms=$2 round=$3 contender=$4 log numbers
	log=$job-$platforms-$round-$contender
	log=$work/logs/${log//\//-}
	# Every contender gets a change of its own: the compiler's cache is shared.
	if [ "$job" = one-line-changed ]; then change "$job $platforms $round $contender"; fi
	local TIMEFORMAT='%R %U %S' load=-
	if [ -r /proc/loadavg ]; then load=$(cut -d' ' -f1 /proc/loadavg); fi
	if ! { time "run_$contender" "$platforms" >"$log" 2>&1 </dev/null; } 2>"$work/time"; then
		tail -20 "$log" >&2
		die "$contender failed ($job, $platforms, round $round)"
	fi
	numbers=$(tail -1 "$work/time")
	if [ "$round" != 0 ]; then
		printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$job" "$platforms" "$round" "$contender" "${numbers// /$'\t'}" "$load" >>"$raw"
	fi
	printf '  %-18s %-24s round %s  %-11s %s s\n' "$job" "$platforms" "$round" "$contender" "${numbers%% *}"
}

read -ra order <<<"$CONTENDERS"
for platforms in "$one" "$two"; do
	for job in nothing-changed one-line-changed; do
		for ((round = 0; round <= RUNS; round++)); do
			for ((i = 0; i < ${#order[@]}; i++)); do
				timed "$job" "$platforms" "$round" "${order[(round + i) % ${#order[@]}]}"
			done
		done
	done
done

# ---- The report ---------------------------------------------------------------------------

# Medians with their spread; ratios are of medians.
table() {
	echo "| job | platforms | contender | min s | median s | max s | CPU s (median) | to ko | to go build |"
	echo "|---|---|---|---|---|---|---|---|---|"
	awk -F '\t' -v contenders="$CONTENDERS" '
		function sorted(from, n, to,   i, j, x) {
			for (i = 1; i <= n; i++) {
				x = from[i]
				for (j = i - 1; j > 0 && to[j] > x; j--) to[j + 1] = to[j]
				to[j + 1] = x
			}
		}
		function median(a, n) { return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2 }
		function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "-" }
		NR > 1 {
			job = $1 " | " $2
			if (!(job in seen)) { seen[job] = 1; jobs[++count] = job }
			n = ++runs[job, $4]
			wall[job, $4, n] = $5 + 0
			cpu[job, $4, n] = $6 + $7
		}
		END {
			names = split(contenders, name, " ")
			for (j = 1; j <= count; j++) {
				for (c = 1; c <= names; c++) {
					n = runs[jobs[j], name[c]]
					for (i = 1; i <= n; i++) { w[i] = wall[jobs[j], name[c], i]; u[i] = cpu[jobs[j], name[c], i] }
					sorted(w, n, sw); sorted(u, n, su)
					low[c] = sw[1]; mid[c] = median(sw, n); high[c] = sw[n]; busy[c] = median(su, n)
					at[name[c]] = mid[c]
				}
				for (c = 1; c <= names; c++)
					printf "| %s | %s | %.2f | %.2f | %.2f | %.2f | %s | %s |\n", jobs[j], name[c], low[c], mid[c], high[c], busy[c], ratio(mid[c], at["ko"]), ratio(mid[c], at["go"])
			}
		}' "$raw"
}

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sort -u | head -1 || true)
commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo none)
if [ -n "$(git -C "$root" status --porcelain 2>/dev/null)" ]; then commit="$commit, with changes"; fi
{
	echo "# $NAME"
	echo
	echo "By \`benches/e2e/run.sh\`, RUNS=$RUNS. Raw numbers: raw.tsv. Ratios are of medians; below 1 is faster."
	echo
	echo "- program: $what, $PACKAGE"
	echo "- machine: $(uname -sm), $(getconf _NPROCESSORS_ONLN) cores, ${cpu:-unknown CPU}"
	echo "- $(go version)"
	echo "- gimg: $("$GIMG" --version 2>/dev/null | head -1), commit $commit"
	echo "- ko: $(go version -m "$KO" 2>/dev/null | awk '($1 == "mod" || $1 == "dep") && $2 == "github.com/google/ko" { print $3 }')"
	echo "- registry: olareg on loopback; base: one small file; compiler cache warm and shared"
	echo "- go: only compiles, and finds its output current when nothing changed; ko links anew unless it has KOCACHE"
	echo
	table
} >"$results/README.md"

echo
table
echo
echo "Written: ${results#"$root"/}/README.md and raw.tsv"
