#!/usr/bin/env bash
# Knative Serving's configuration, resolved: every `ko://` reference of config/ built and pushed, by gimg and by ko, on
# the same tree in the same run. First with an empty Go cache (of its own for each), then again and again with nothing
# changed; contenders take turns. Raw numbers: benches/resolve/runs/DATE-HOST/.
#
# Settings (environment): RUNS=3 warm rounds, GIMG=target/release/gimg, KO=.tools/bin/ko, NAME=date-host
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD

RUNS=${RUNS:-3}
MODULE=knative.dev/serving@v0.42.2
GIMG=${GIMG:-$root/target/release/gimg}
KO=${KO:-$root/.tools/bin/ko}
NAME=${NAME:-$(date +%Y-%m-%d)-$(uname -n | cut -d. -f1)}

die() {
	printf 'bench: %s\n' "$*" >&2
	exit 1
}
for tool in "$GIMG" "$KO" "$root/.tools/bin/olareg" "$root/.tools/bin/crane"; do
	[ -x "$tool" ] || die "$tool is missing: run make bench"
done

work=$root/target/bench-resolve
results=$root/benches/resolve/runs/$NAME
rm -rf "$work"
mkdir -p "$work" "$results"

export GOFLAGS='-mod=mod -buildvcs=false' GOWORK=off CGO_ENABLED=0 GIT_CEILING_DIRECTORIES=$root/target
source=$(cd "$work" && go mod download -json "$MODULE" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
[ -n "$source" ] || die "cannot download $MODULE"
cp -R "$source" "$work/tree"
chmod -R u+w "$work/tree"
cd "$work/tree"
go mod download 2>"$work/download" || die "the tree's modules: $(tail -3 "$work/download")"

# The registry, and a base in it: the project's own bases are far away.
port=$((20000 + RANDOM % 20000))
"$root/.tools/bin/olareg" serve --addr 127.0.0.1 --port $port --store-type mem >/dev/null 2>&1 &
olareg=$!
trap 'kill $olareg 2>/dev/null || true' EXIT
sleep 1
base=127.0.0.1:$port/base:latest
mkdir -p "$work/base/etc"
echo 'root:x:0:0::/:' >"$work/base/etc/passwd"
tar -C "$work/base" -cf "$work/base.tar" .
"$root/.tools/bin/crane" --insecure append --oci-empty-base -f "$work/base.tar" -t "$base" >/dev/null 2>&1
"$root/.tools/bin/crane" --insecure mutate --set-platform linux/amd64 "$base" -t "$base" >/dev/null 2>&1
printf 'defaultBaseImage: %s\n' "$base" >"$work/base.yaml"
export KO_CONFIG_PATH=$work/base.yaml

once() { # CONTENDER OUT
	case $1 in
	gimg) KO_DOCKER_REPO=127.0.0.1:$port/gimg GOCACHE=$work/gimg-cache "$GIMG" resolve -q --sbom none -R -f config/ ;;
	ko) KO_DOCKER_REPO=127.0.0.1:$port/ko GOCACHE=$work/ko-cache "$KO" resolve --sbom=none -R -f config/ ;;
	esac >"$2" 2>"$2.log" || die "$1 failed: $(tail -3 "$2.log")"
}

seconds=$results/seconds.tsv
: >"$seconds"
round() { # JOB ROUND CONTENDERS...
	local job=$1 number=$2 start
	shift 2
	for contender in "$@"; do
		start=${EPOCHREALTIME/./}
		once "$contender" "$work/$contender.yaml"
		printf '%s\t%s\t%s\t%d.%03d\n' "$job" "$number" "$contender" \
			$(((${EPOCHREALTIME/./} - start) / 1000000)) $(((${EPOCHREALTIME/./} - start) / 1000 % 1000)) |
			tee -a "$seconds"
	done
}

round cold 1 gimg ko
for ((r = 1; r <= RUNS; r++)); do
	if ((r % 2)); then round warm $r ko gimg; else round warm $r gimg ko; fi
done

# Every digest must be there to pull.
for digest in $(grep -o "127.0.0.1:$port/[^ \"']*@sha256:[0-9a-f]*" "$work/gimg.yaml" | sort -u); do
	"$root/.tools/bin/crane" --insecure manifest "$digest" >/dev/null || die "$digest is not in the registry"
done

{
	echo "# Knative Serving, resolved"
	echo
	echo "\`config/\` of $MODULE: $(grep -rlE 'ko://' config | wc -l) files with references to $(grep -rhoE 'ko://[^ "]*' config | sort -u | wc -l)"
	echo "programs; linux/amd64; $(nproc) cores; $("$GIMG" version | head -1), ko $("$KO" version), $(go env GOVERSION)."
	echo "Seconds; of warm rounds the median and the range."
	echo
	echo "| job | gimg | ko | gimg/ko |"
	echo "|---|---|---|---|"
	for job in cold warm; do
		awk -F'\t' -v job=$job '
			function sort(a, n,   i, j, t) { for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t } }
			function show(a, n) { return n == 1 ? sprintf("%.1f", a[1]) : sprintf("%.1f (%.1f to %.1f)", a[int((n + 1) / 2)], a[1], a[n]) }
			$1 == job && $3 == "gimg" { g[++ng] = $4 + 0 }
			$1 == job && $3 == "ko" { k[++nk] = $4 + 0 }
			END {
				sort(g, ng); sort(k, nk)
				printf "| %s | %s | %s | %.2f |\n", job == "cold" ? "empty Go cache" : "nothing changed", show(g, ng), show(k, nk), g[int((ng + 1) / 2)] / k[int((nk + 1) / 2)]
			}' "$seconds"
	done
} >"$results/README.md"
cat "$results/README.md"
