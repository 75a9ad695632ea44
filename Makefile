# `make` alone prints this list.

# How many cases each property test gets in `make fuzz`.
CASES ?= 20000
# How long each fuzz target runs in `make fuzz`, in seconds.
FUZZ_SECONDS ?= 60

.PHONY: help demo test test-integrations soak release live bench bench-empty bench-list bench-report bench-resolve bench-decode bench-micro bench-load fuzz fuzz-smoke lint check-hosts tools clean-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build a sample program into an image and run it, without any container tool
	@tests/demo.sh

test: tools ## unit and integration tests against local registries
	cargo test --locked

test-integrations: ## also podman, containerd, a Kubernetes API server, … (installs them; root on Debian)
	tests/tools/install integration
	tests/tools/install kube
	cargo test --locked --test it -- --ignored integration

soak: tools ## long runs that look for leaks and rare failures
	cargo test --locked --test it -- --ignored soak

release: ## static programs for Linux, their SBOMs and checksums, in dist/; some 15 minutes
	release/build

live: ## try gimg with a registry of yours, and your credentials: REPO=registry.example/me/gimg-live
	@REPO='$(REPO)' tests/live.sh

bench: ## gimg, ko and plain `go build` side by side, about 45 minutes; ONLY=hello for a part of it
	tests/tools/install bench
	cargo bench --locked --bench e2e

bench-empty: ## the same on an empty machine, with and without remote caches, about 20 minutes
	tests/tools/install bench
	cargo bench --locked --bench e2e -- empty

bench-list: ## the rows of both, for ONLY
	@cargo bench --quiet --locked --bench e2e -- list

bench-report: ## the tables and plots of the newest of both anew, from their raw numbers
	@cargo bench --quiet --locked --bench e2e -- report

bench-resolve: ## Knative Serving's configuration resolved by gimg and by ko
	tests/tools/install bench
	cargo build --locked --release
	benches/resolve/run.sh

bench-decode: ## a program's layers decompressed as containerd does it, gzip beside zstd
	tests/tools/install bench
	cargo build --locked --release
	benches/decode/run.sh

bench-micro: ## the parts alone: tar, compression, SHA-256, the look at whether anything changed, YAML
	cargo bench --locked --bench micro

bench-load: ## requests, bytes sent twice, memory, connections
	tests/tools/install bench
	cargo test --locked --release --test it load:: -- --ignored --nocapture --test-threads=1

fuzz: ## property tests (CASES=20000 each), then every fuzz target for FUZZ_SECONDS=60
	PROPTEST_CASES=$(CASES) cargo test --locked --release fuzz
	fuzz/run $(FUZZ_SECONDS)

fuzz-smoke: ## every fuzz target for 3 seconds
	fuzz/run 3

lint: ## format, clippy and documentation, warnings are errors
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path tests/oci-client/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Needs the targets' standard libraries (rustup target add) and, for ring, their C compilers.
check-hosts: ## does gimg compile for macOS and Windows? (where their targets are installed)
	@for target in x86_64-apple-darwin aarch64-apple-darwin x86_64-pc-windows-gnu; do \
		if rustup target list --installed | grep -qx $$target; then cargo check --locked --target $$target || exit 1; \
		else echo "not checked: $$target is not installed"; fi; \
	done

tools: ## install what the tests need into .tools (no root needed)
	@tests/tools/install fast

clean-tools: ## remove .tools
	rm -rf .tools
