# What the GitHub Action and the GitLab component do with gimg, in POSIX shell. The component has a copy in templates/build.yml,
# because GitLab hands no scripts to jobs; a test keeps them alike. All that users say comes from variables, and no shell reads it:
#
#   GIMG_CI_PATH       a gimg that is there already, its file or its name on PATH; otherwise a release is fetched
#   GIMG_CI_VERSION    which
#   GIMG_CI_FROM       where its files are: an https:// URL or a directory; without it the project's releases
#   GIMG_CI_SHA256     the digest of its archive; without it what SHA256SUMS beside it says
#   GIMG_CI_PACKAGES GIMG_CI_PLATFORM GIMG_CI_REPO GIMG_CI_TAGS   words with blanks, commas or line ends between them
#   GIMG_CI_BASE GIMG_CI_CONFIG GIMG_CI_SBOM GIMG_CI_AGAINST      as the flags of gimg build
#   GIMG_CI_SIGN_KEY GIMG_CI_SIGN_PASSWORD   the key that signs, its text or its file, and its password [COSIGN_PASSWORD]
#   GIMG_CI_ARGS       further arguments of gimg build, one on each line
#   GIMG_CI_SUMMARY    false: no summary
#   GIMG_CI_REGISTRY GIMG_CI_USERNAME GIMG_CI_PASSWORD            a login for this build alone
#
# gimg_install DIR sets `gimg`, the program. gimg_build DIR leaves references.txt, report.json and summary.md in DIR. Both say what
# is wrong as gimg does, with its exit codes, and don't count on `set -e`.

gimg_wrong() { # CODE MESSAGE
	printf 'gimg: %s\n' "$2" >&2
	return "$1"
}

gimg_fetch() { # NAME DIR
	gimg_from=${GIMG_CI_FROM:-https://github.com/gimg/gimg/releases/download/v$GIMG_CI_VERSION}
	case $gimg_from in
	*://*@*) gimg_wrong 2 "fetch $1: its place has a user or password in it" || return ;;
	https://* | http://127.0.0.1:*)
		if command -v curl >/dev/null; then
			curl -fsSL --proto-redir =https --retry 3 -o "$2/$1" "$gimg_from/$1"
		else
			wget -q -O "$2/$1" "$gimg_from/$1"
		fi
		;;
	*://*) gimg_wrong 2 "fetch $1: its place is neither an https:// URL nor a directory" || return ;;
	*) cp "$gimg_from/$1" "$2/$1" ;;
	esac || gimg_wrong 7 "fetch $1: it can't be had"
}

gimg_install() { # DIR
	gimg=${GIMG_CI_PATH:-}
	if [ -n "$gimg" ]; then
		gimg=$(command -v "$gimg") || gimg_wrong 2 "find gimg: there is no program $GIMG_CI_PATH" || return
		case $gimg in /*) ;; *) gimg=$PWD/$gimg ;; esac
		return
	fi
	case $(uname -sm) in
	'Linux x86_64') gimg=amd64 ;;
	'Linux aarch64') gimg=arm64 ;;
	*) gimg_wrong 2 "install gimg: there is no release for $(uname -sm)" || return ;;
	esac
	case ${GIMG_CI_VERSION:-} in
	'' | *[!0-9A-Za-z.+-]*) gimg_wrong 2 "install gimg: this is no version: ${GIMG_CI_VERSION:-}" || return ;;
	esac
	gimg=gimg-$GIMG_CI_VERSION-linux-$gimg
	mkdir -p "$1/$gimg" && gimg_fetch "$gimg.tar.gz" "$1" || return
	gimg_sum=${GIMG_CI_SHA256:-}
	if [ -z "$gimg_sum" ]; then
		gimg_fetch SHA256SUMS "$1" || return
		gimg_sum=$(awk -v name="$gimg.tar.gz" '$2 == name || $2 == "*" name { print $1; exit }' "$1/SHA256SUMS")
	fi
	if [ "$(sha256sum <"$1/$gimg.tar.gz")" != "$gimg_sum  -" ]; then
		gimg_wrong 8 "check $gimg.tar.gz: its digest is not the one that was given" || return
	fi
	tar -xzf "$1/$gimg.tar.gz" -C "$1/$gimg" || gimg_wrong 8 "unpack $gimg.tar.gz: it can't be read" || return
	# The program lies at the top, or in a folder of the archive's name.
	if [ -d "$1/$gimg/$gimg" ]; then gimg=$gimg/$gimg; fi
	gimg=$1/$gimg/gimg
	"$gimg" version
}

# Other logins in DOCKER_AUTH_CONFIG stay. Docker's own file isn't touched, and nothing is left for later steps.
gimg_login() { # DIR
	gimg_repo=${GIMG_CI_REPO:-${GIMG_REPO:-${KO_DOCKER_REPO:-}}}
	printf %s "${DOCKER_AUTH_CONFIG:-}" >"$1/config.json" &&
		printf %s "$GIMG_CI_PASSWORD" |
		DOCKER_CONFIG=$1 DOCKER_AUTH_CONFIG='' "$gimg" login "${GIMG_CI_REGISTRY:-${gimg_repo%%/*}}" \
			"--username=${GIMG_CI_USERNAME:-}" --password-stdin --quiet || return
	DOCKER_AUTH_CONFIG=$(cat "$1/config.json")
	export DOCKER_AUTH_CONFIG
}

gimg_build() ( # DIR
	gimg_private=$(mktemp -d) || exit 9
	trap 'rm -rf "$gimg_private"' EXIT
	if [ -n "${GIMG_CI_PASSWORD:-}" ]; then gimg_login "$gimg_private" || exit; fi
	# From here on words are split, and nothing else is done with them.
	set -f
	gimg_between=$(printf ' ,\t\n.')
	gimg_between=${gimg_between%.}
	IFS=$gimg_between
	set -- "$1" "--report=$1/report.json"
	for gimg_word in ${GIMG_CI_PLATFORM:-}; do set -- "$@" "--platform=$gimg_word"; done
	for gimg_word in ${GIMG_CI_REPO:-}; do set -- "$@" "--repo=$gimg_word"; done
	for gimg_word in ${GIMG_CI_TAGS:-}; do set -- "$@" "--tags=$gimg_word"; done
	if [ -n "${GIMG_CI_BASE:-}" ]; then set -- "$@" "--base=$GIMG_CI_BASE"; fi
	if [ -n "${GIMG_CI_CONFIG:-}" ]; then set -- "$@" "--config=$GIMG_CI_CONFIG"; fi
	if [ -n "${GIMG_CI_SBOM:-}" ]; then set -- "$@" "--sbom=$GIMG_CI_SBOM"; fi
	if [ -n "${GIMG_CI_SIGN_PASSWORD:-}" ]; then export COSIGN_PASSWORD="$GIMG_CI_SIGN_PASSWORD"; fi
	case ${GIMG_CI_SIGN_KEY:-} in
	'') ;;
	*-----BEGIN*)
		printf '%s\n' "$GIMG_CI_SIGN_KEY" >"$gimg_private/sign.key" || exit 9
		set -- "$@" "--sign-key=$gimg_private/sign.key"
		;;
	*) set -- "$@" "--sign-key=$GIMG_CI_SIGN_KEY" ;;
	esac
	if [ "${GIMG_CI_SUMMARY:-}" != false ]; then
		set -- "$@" "--summary=$1/summary.md"
		if [ -n "${GIMG_CI_AGAINST:-}" ]; then set -- "$@" "--against=$GIMG_CI_AGAINST"; fi
	fi
	gimg_line=$(printf '\n.')
	IFS=${gimg_line%.}
	for gimg_word in ${GIMG_CI_ARGS:-}; do set -- "$@" "$gimg_word"; done
	IFS=$gimg_between
	set -- "$@" --
	for gimg_word in ${GIMG_CI_PACKAGES:-}; do set -- "$@" "$gimg_word"; done
	gimg_out=$1
	shift
	unset GIMG_CI_PASSWORD GIMG_CI_SIGN_KEY GIMG_CI_SIGN_PASSWORD
	"$gimg" build "$@" >"$gimg_out/references.txt"
)

# The digest of the first image that a report names.
gimg_digest() { # DIR
	sed -n '/"digest": "sha256:/{s/.*"\(sha256:[0-9a-f]*\)".*/\1/p;q;}' "$1/report.json"
}
