# Commands for people and for CI: make run, make test, make check.
# Each says what it is going to install and how long that takes, and then does it; LOADTEST_INSTALL=no leaves the
# installing to you.

export PATH := $(PATH):$(HOME)/.cargo/bin
SCENARIO ?= scenarios/50x5m.toml
SEARCH ?= scenarios/capacity.toml
FUZZ_SECONDS ?= 60
# Most tests wait while calls are held, so twice as many as processors run at a time; each takes a block of ports.
TEST_THREADS ?= $(shell n=$$((2 * $$(nproc))); echo $$((n < 16 ? n : 16)))
TEST_PROGRAMS := sipp node-echo python3 chromium shellcheck groff curl tshark slurm kubernetes-validate
SCRIPTS := asterisk/install.sh asterisk/packages.sh tests/all.sh tests/install.sh tests/plan.sh tests/compose.sh tests/slurm/cluster examples/distributed/slurm.sbatch benches/peers/run.sh fuzz/run .ci/run .ci/dist .ci/licences docker/entrypoint docker/healthy

.PHONY: help run capacity test check bench fuzz dist compose-test rust asterisk plan-run plan-capacity plan-test

help:
	@echo "make run     place the calls of $(SCENARIO) (SCENARIO=FILE: of another) and report"
	@echo "make capacity   find out how many calls are carried, by $(SEARCH) (SEARCH=FILE: by another)"
	@echo "make test    run every test, against a real Asterisk, and end with those that failed"
	@echo "make check   formatting, lints, documentation, scripts"
	@echo "make fuzz    hostile input from libFuzzer, for FUZZ_SECONDS (60) a target"
	@echo "make dist    the program, its manual and all licences as an archive, in target/dist"
	@echo "make compose-test   the images, docker-compose.yml and the example of a Docker Swarm, built and run"
	@echo "make bench   loadtest beside irtt and SIPp on this machine, into BENCHMARKS.md"

run: plan-run rust asterisk
	cargo run --release --locked -- run $(SCENARIO)

capacity: plan-capacity rust asterisk
	cargo run --release --locked -- search $(SEARCH)

test: plan-test rust asterisk
	tests/install.sh $(TEST_PROGRAMS)
	@# Built once: what a next build could reuse of our own crate would be another gigabyte.
	CARGO_INCREMENTAL=0 RUST_TEST_THREADS=$(TEST_THREADS) tests/all.sh

check: rust
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	tests/install.sh shellcheck
	shellcheck $(SCRIPTS)

bench: rust asterisk
	tests/install.sh sipp irtt
	cargo build --release --locked --bin loadtest --example peers
	benches/peers/run.sh

fuzz: rust
	FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run

dist: rust
	.ci/dist

# Docker and Compose, of either spelling, have to be there.
compose-test:
	tests/compose.sh

plan-run:
	@tests/plan.sh run $(SCENARIO)

plan-capacity:
	@tests/plan.sh capacity $(SEARCH)

plan-test:
	@tests/plan.sh test $(TEST_PROGRAMS)

rust:
	@command -v cargo >/dev/null || { echo "Rust is missing; install it with rustup, see https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "A linker is missing; type: sudo apt-get install gcc libc6-dev" >&2; exit 1; }

asterisk:
	@asterisk/install.sh
