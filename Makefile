# Commands for people and for CI: make run, make test, make check.
# Each installs what it needs, or says in one line what to type.

export PATH := $(PATH):$(HOME)/.cargo/bin
SCENARIO ?= scenarios/50x5m.toml
FUZZ_SECONDS ?= 60
# Most tests wait while calls are held, so twice as many as processors run at a time; each takes a block of ports.
TEST_THREADS ?= $(shell n=$$((2 * $$(nproc))); echo $$((n < 16 ? n : 16)))
SCRIPTS := asterisk/install.sh tests/install.sh tests/compose.sh benches/peers/run.sh .ci/run docker/entrypoint docker/healthy

.PHONY: help run test check bench fuzz compose-test rust asterisk

help:
	@echo "make run     place the calls of $(SCENARIO) (SCENARIO=FILE: of another) and report"
	@echo "make test    run every test, against a real Asterisk"
	@echo "make check   formatting, lints, documentation, scripts"
	@echo "make fuzz    hostile input for FUZZ_SECONDS (60) a target"
	@echo "make compose-test   docker-compose.yml, built and run"
	@echo "make bench   loadtest beside irtt and SIPp on this machine, into BENCHMARKS.md"

run: rust asterisk
	cargo run --release --locked -- run $(SCENARIO)

test: rust asterisk
	tests/install.sh sipp node-echo chromium shellcheck groff curl
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked --tests

check: rust
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	tests/install.sh shellcheck
	shellcheck $(SCRIPTS)

bench: rust
	tests/install.sh sipp irtt
	cargo build --release --locked --bin loadtest --example peers
	benches/peers/run.sh

fuzz: rust
	FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --release --locked --test fuzz -- --nocapture

# Docker and Compose have to be there; COMPOSE="docker compose" for the newer one.
compose-test:
	tests/compose.sh

rust:
	@command -v cargo >/dev/null || { echo "Rust is missing; install it with rustup, see https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "A linker is missing; type: sudo apt-get install gcc libc6-dev" >&2; exit 1; }

asterisk:
	@asterisk/install.sh
