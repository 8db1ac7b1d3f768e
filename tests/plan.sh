#!/usr/bin/env bash
# What a target of the Makefile is going to install and to do, and how long each takes: said before it begins.
#
#     tests/plan.sh run SCENARIO | capacity SCENARIO | test PROGRAM...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Processor seconds of a first build (rustc 1.95, AMD EPYC). Optimised: measured, 365 s of user and 31 s of system time,
# on two cores in 265 s. That of the tests: estimated.
RELEASE_SECONDS=390
TEST_SECONDS=300

cores=$(nproc)

# build FOLDER PROCESSOR-SECONDS KIND DISK: how long the build takes, once nothing of it is there.
build() {
    local minutes=$((($2 / cores + 59) / 60))
    if [[ -d ${CARGO_TARGET_DIR:-target}/$1/deps ]]; then
        echo "$3: of what has changed (the first takes about $minutes minutes on $cores cores)"
    else
        echo "$3: about $minutes minutes on $cores cores, $4 in ${CARGO_TARGET_DIR:-target}"
    fi
}

# step HEADING TEXT: each line of TEXT that is not empty, as a step.
step() {
    local heading=$1 line
    while IFS= read -r line; do
        if [[ -z $line ]]; then continue; fi
        printf '  %-8s %s\n' "$heading" "$line"
        heading=
    done <<<"$2"
}

target=${1-}
shift || true
case $target in
run)
    echo "make run:"
    step install "$(asterisk/install.sh --dry-run 2>&1)"
    step build "$(build release $RELEASE_SECONDS "optimised" "0.6 GB")"
    step calls "those of ${1:?a scenario}; the run says how long it holds them (50x5m: 5 minutes)"
    ;;
capacity)
    echo "make capacity:"
    step install "$(asterisk/install.sh --dry-run 2>&1)"
    step build "$(build release $RELEASE_SECONDS "optimised" "0.6 GB")"
    step trials "those of ${1:?a scenario}; before each one it says how long the search can still take (capacity: an hour at the most)"
    ;;
test)
    echo "make test:"
    step install "$(asterisk/install.sh --dry-run 2>&1; tests/install.sh --dry-run "$@")"
    step build "$(build debug $TEST_SECONDS "tests" "2 GB")"
    step tests "about 8 minutes on two idle cores, up to three times as long beside other work; all of them run, whatever fails"
    ;;
*)
    echo "usage: tests/plan.sh run SCENARIO | capacity SCENARIO | test PROGRAM..." >&2
    exit 2
    ;;
esac
if [[ ${LOADTEST_INSTALL:-yes} != no ]]; then
    echo "  LOADTEST_INSTALL=no leaves the installing to you: what is missing is named, and nothing is done."
fi
