#!/usr/bin/env bash
# Builds the sample program into a two-platform image, shows the image's index, and runs the
# program out of the image, with no container tool and no registry.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
gimg=${GIMG:-$root/target/release/gimg}
layout=$root/target/demo/layout
rootfs=$root/target/demo/rootfs

title() { printf '\n== %s\n' "$*"; }
die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

command -v go >/dev/null || die "the Go toolchain is missing: gimg calls it to compile"
if [ -z "${GIMG:-}" ]; then
	title "Building gimg"
	cargo build --locked --release
fi

rm -rf "$root/target/demo"
mkdir -p "$root/target/demo"

title "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --output oci:target/demo/layout"
reference=$(cd testdata/go/hello &&
	"$gimg" build ./cmd/hello --platform linux/amd64,linux/arm64 --output "oci:$layout")
echo "$reference"

# The few JSON questions asked here need no JSON program: OCI documents are small and flat.
# Prints the digest and platform of each descriptor in "manifests", one a line.
descriptors() {
	tr -d ' \t\n\r' <"$1" | awk '{
		sub(/.*"manifests":\[/, "")
		gsub(/[}],[{]/, "}\n{")
		print
	}' | awk 'match($0, /"digest":"sha256:[0-9a-f]+/) {
		digest = substr($0, RSTART + 17, RLENGTH - 17)
		os = match($0, /"os":"[a-z0-9]+"/) ? substr($0, RSTART + 6, RLENGTH - 7) : "-"
		arch = match($0, /"architecture":"[a-z0-9]+"/) ? substr($0, RSTART + 16, RLENGTH - 17) : "-"
		print digest, os "/" arch
	}'
}
blob() { echo "$layout/blobs/sha256/$1"; }
pretty() {
	if command -v python3 >/dev/null; then python3 -m json.tool "$1"; else cat "$1" && echo; fi
}

title "The index of the image"
index=$layout/index.json
# index.json lists what the folder holds: one image here, which is an index itself.
first=$(descriptors "$index" | awk 'NR == 1 { print $1 }')
[ -n "$first" ] || die "$index lists no image"
if grep -q '"manifests"' "$(blob "$first")"; then index=$(blob "$first"); fi
echo "${index#"$root"/}"
pretty "$index"

title "Running the linux/amd64 program of the image"
if [ "$(uname -s)/$(uname -m)" != Linux/x86_64 ]; then
	echo "This host is $(uname -s)/$(uname -m) and cannot run it. The image is complete: $layout"
	exit 0
fi
manifest=$(descriptors "$index" | awk '$2 == "linux/amd64" { print $1; exit }')
[ -n "$manifest" ] || die "the index lists no linux/amd64 image"
manifest=$(blob "$manifest")

# The layers over each other, oldest first, are the file system of the container.
mkdir -p "$rootfs"
layers=$(tr -d ' \t\n\r' <"$manifest" | grep -o '"layers":\[[^]]*\]' |
	grep -o '"digest":"sha256:[0-9a-f]*' | cut -d: -f3 || true)
[ -n "$layers" ] || die "$manifest has no layers"
for layer in $layers; do
	# No owners, no permissions: the folder has to be removable by whoever runs this.
	tar -xzf "$(blob "$layer")" -C "$rootfs" --no-same-owner --no-same-permissions
done
chmod -R u+rwX "$rootfs"

config=$(tr -d ' \t\n\r' <"$manifest" | grep -o '"config":{[^}]*}' |
	grep -o '"digest":"sha256:[0-9a-f]*' | cut -d: -f3 || true)
program=$(tr -d '\t\n\r' <"$(blob "$config")" | grep -o '"Entrypoint": *\["[^"]*"' | cut -d'"' -f4 || true)
[ -n "$program" ] || die "the image has no entrypoint"
echo "$(wc -l <<<"$layers" | tr -d ' ') layers unpacked into ${rootfs#"$root"/}; the entrypoint is $program"
echo
if [ "$(id -u)" = 0 ]; then
	chroot "$rootfs" "$program"
else
	"$rootfs$program"
fi

title "Done"
echo "The image is in ${layout#"$root"/}. Any tool that reads OCI layouts takes it, for example:"
echo "  skopeo inspect oci:${layout#"$root"/}"
