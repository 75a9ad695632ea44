#!/usr/bin/env bash
# The steps of the GitHub Action (action.yml): `install` puts gimg on PATH, `build` builds. What a runner reads: groups and
# annotations on standard output, outputs and the summary in the files that it names.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ci/gimg.sh
. "$here/gimg.sh"

# The value of a command to the runner.
value() {
	local text=${1//'%'/%25}
	text=${text//$'\r'/%0D}
	printf %s "${text//$'\n'/%0A}"
}

# Something that no log of this job shows from here on.
mask() {
	if [ -n "$1" ]; then echo "::add-mask::$(value "$1")"; fi
}

# Runs a command in a group of the log. Nothing that it prints is a command to the runner; its error becomes an annotation.
grouped() { # TITLE COMMAND…
	local title=$1 log=$work/log status=0 token message
	shift
	token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	echo "::group::$title"
	echo "::stop-commands::$token"
	"$@" 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
	echo "::$token::"
	echo "::endgroup::"
	if [ "$status" = 0 ]; then return; fi
	message=$(awk '/^(gimg|error): / { said = $0; hint = "" } /^hint: / { hint = "\n" $0 } END { printf "%s%s", said, hint }' "$log")
	message=${message:-gimg ended with exit code $status}
	echo "::error title=$title::$(value "$message")"
	if [ "${GIMG_CI_SUMMARY:-}" != false ]; then
		# shellcheck disable=SC2016
		printf '### %s failed\n\n```text\n%s\n```\n' "$title" "$message" >>"$GITHUB_STEP_SUMMARY"
	fi
	exit "$status"
}

install() {
	gimg_install "$work" || return
	# It may be the one that an earlier step put there.
	if [ ! "$gimg" -ef "$bin/gimg" ]; then mkdir -p "$bin" && ln -sf "$gimg" "$bin/gimg"; fi
}

bin=$RUNNER_TEMP/gimg-bin
work=$(mktemp -d "$RUNNER_TEMP/gimg.XXXXXX")
case $1 in
install)
	grouped 'Install gimg' install
	echo "$bin" >>"$GITHUB_PATH"
	;;
build)
	mask "${GIMG_CI_PASSWORD:-}"
	mask "${GITHUB_TOKEN:-}"
	mask "${GIMG_CI_SIGN_PASSWORD:-}"
	gimg=$bin/gimg
	grouped 'gimg build' gimg_build "$work"
	cat "$work/references.txt"
	if [ -f "$work/summary.md" ]; then cat "$work/summary.md" >>"$GITHUB_STEP_SUMMARY"; fi
	{
		echo "digest=$(gimg_digest "$work")"
		echo "reference=$(head -n 1 "$work/references.txt")"
		# Nothing else can end the list: references hold no blanks.
		printf 'references<<end of references\n'
		cat "$work/references.txt"
		printf 'end of references\n'
		echo "report=$work/report.json"
	} >>"$GITHUB_OUTPUT"
	;;
esac
