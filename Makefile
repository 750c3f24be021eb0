# One verb per chore. `make demo` shows it working, `make test` proves it.

CARGO ?= cargo
UI := gateway/ui
# What tests are built with: bugs to be switched on, and Timestream. The same everywhere, so that nothing is built twice.
FEATURES := seeded-bugs,aws
# A commit's worth of tests is built with the same profile as the demo, so that nothing is built twice.
BIN := target/debug
TESTS := $(CARGO) nextest run --config-file tests/nextest.toml --workspace --features $(FEATURES) --no-fail-fast

.PHONY: help demo test check terraform containers test-rust test-ui test-package package bench chaos drill security cross fuzz sbom reproducible servers ui install build build-for-tests clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ui build ## everything at once on this machine with real readings, until Ctrl-C; CHECK=1 proves it instead
	@$(BIN)/tributary-demo $(if $(CHECK),--check)

test: install check test-rust test-ui test-package terraform containers ## everything that a change must pass

check: ui ## formatting, lints, dependencies, no_std, one version everywhere
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features $(FEATURES) --quiet -- -D warnings
	$(CARGO) clippy --package tributary-agent --package tributary-gateway --quiet -- -D warnings
	$(CARGO) check --package tributary-proto --no-default-features --quiet
	for families in "" energy,mqtt files,programs; do \
		$(CARGO) clippy --package tributary-agent --no-default-features --features "$$families" --quiet -- -D warnings || exit 1; done
	.ci/deny
	.ci/versions

terraform: ## the cloud side, as far as it can be looked at without an account
	terraform/check

containers: ## images, compose.yaml and systemd units, as far as they can be looked at without an engine
	gateway/containers/check

test-rust: ui build-for-tests servers ## unit, property, integration and end-to-end tests, and the rigs of `chaos` in their short form
	$(CARGO) build --profile dist --package tributary-agent --quiet
	cross/test $(TESTS) -E 'not test(emulated::)'
	python3 -B tests/checks/skips.py
	$(TESTS) -E 'test(emulated::)'
	python3 -B tests/checks/skips.py
	$(BIN)/tributary-demo --check
	$(BIN)/tributary-chaos --short
	$(BIN)/tributary-security --short --allow-skips

test-ui: ui build-for-tests ## the dashboard's own tests, then all of it in a browser, against the demo
	cd $(UI) && npm run --silent check
	$(BIN)/tributary-demo --with npm --prefix $(UI) run --silent e2e

test-package: ui build-for-tests ## what packages are and do, in a Debian root; docs/raspberry-pi.md, command by command
	$(CARGO) build --profile dist --package tributary-agent --quiet
	cross/package/check

# The first Raspberry Pi, too, is `armhf` to its system.
PACKAGED := amd64 arm64 armv6

package: ui ## Debian packages and archives of agent and gateway, tried; into target/package
	.ci/install
	$(CARGO) build --package tributary-pages --quiet
	cross/supply/ship tributary-gateway tributary-certs
	rm -f $(PACKAGED:%=target/cross/%/tributary-agent) # of an earlier day, should they not be built now
	if cross/fetch rust qemu; then cross/build $(PACKAGED); \
	else [ "$$CI" != true ] && echo "skipped: ARM: what builds for it is not here" && cross/supply/ship tributary-agent; fi
	cross/supply/sbom
	cross/package/build
	cross/package/root tools || echo "skipped: lintian could not be fetched"
	TRIBUTARY_PACKAGES=$(CURDIR)/target/package cross/package/check contents again life both page lintian

bench: ui servers ## measures, each beside what it is compared with; writes target/bench.json
	$(CARGO) build --release --workspace --bins --quiet
	$(CARGO) build --profile dist --package tributary-agent --quiet
	target/release/tributary-bench

FUZZ := $(basename $(notdir $(wildcard tests/fuzz/libfuzzer/fuzz_targets/*.rs)))

chaos: ui build-for-tests ## nothing lost, nothing doubled: fifteen minutes of faults, into target/chaos.json; LONG=1 for a night
	.ci/install chaos
	tests/machine/fetch || true # without it the machine's rig says what is missing
	$(BIN)/tributary-chaos $(if $(LONG),--long)

drill: ui build-for-tests servers ## a gateway is copied, destroyed and put back 36 hours later; into target/drill.json; LONG=1 with more readings
	.ci/install
	$(BIN)/tributary-chaos --only drill --report target/drill.json $(if $(LONG),--long)

sbom: ## lists what is in each program that is shipped, into target/sbom, and checks the lists
	cross/supply/sbom

reproducible: ## builds what is shipped twice, elsewhere, and compares; GATEWAY=1 for the gateway too
	cross/supply/reproducible

security: ui build-for-tests ## hostile certificates, rights, packets, revocations against the real gateway; into target/security.json
	.ci/install
	$(BIN)/tributary-security

cross: build-for-tests ## the agent for ARM, RISC-V and this machine, static and small; run by QEMU, killed, its power cut
	.ci/install cross
	cross/fetch rust qemu libc kernels
	tests/machine/fetch || true # without it the machine of this kind is skipped
	cross/build amd64 arm64 armhf armv6 riscv64
	cross/build --features pkcs11 arm64-glibc armhf-glibc
	$(BIN)/tributary-cross

fuzz: ui ## what reads bytes from outside against hostile ones, TIME seconds each (needs a nightly toolchain and cargo-fuzz)
	cd tests/fuzz/libfuzzer && for target in $(or $(TARGET),$(FUZZ)); do \
		mkdir -p corpus/$$target && $(CARGO) +nightly fuzz run --fuzz-dir . $$target corpus/$$target ../corpus/$$target -- \
			-max_total_time=$(or $(TIME),60) -rss_limit_mb=512 -max_len=65536 || exit 1; done

install: ## what the tests need: Debian packages and two cargo tools
	.ci/install

servers: ## fetches the servers that the tests speak to and that this machine does not have; tests/README.md lists them
	@tests/servers/fetch

build:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs, or apt-get install rustup"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install gcc libc6-dev"; exit 1; }
	$(CARGO) build --workspace --bins --quiet

# With bugs that the rigs must catch when they are switched on; no release build can have them.
build-for-tests: ui
	$(CARGO) build --workspace --bins --features $(FEATURES) --quiet

# The dashboard is built when one of its files is newer than the last build.
ui: $(UI)/dist/index.html

$(UI)/dist/index.html: $(shell find $(UI)/src $(UI)/public $(UI)/index.html $(UI)/package-lock.json $(UI)/vite.config.ts -type f 2>/dev/null)
	@node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' \
		2>/dev/null && command -v npm >/dev/null || { echo "Node is missing or too old: 20.19 or later, from https://nodejs.org or Debian 13 (apt-get install nodejs npm); Debian 12 has 18"; exit 1; }
	cd $(UI) && npm ci --silent --no-audit --no-fund && npm run --silent build
	@touch $@

clean: ## removes what was built
	$(CARGO) clean
	rm -rf $(UI)/dist $(UI)/node_modules
