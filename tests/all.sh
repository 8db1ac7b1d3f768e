#!/usr/bin/env bash
# Runs every test of every program, also after one has failed, and ends with those that failed.
#
#     tests/all.sh [ARGUMENT-OF-CARGO-TEST...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
status=0
cargo test --locked --tests --no-fail-fast "$@" 2>&1 | tee -- "$log" || status=$?

# The lines of libtest and cargo that say which program runs, which test failed, and how each program ended.
awk '
    /^ +Running / { program = $2 == "unittests" ? $3 : $2 }
    /^test .* \.\.\. FAILED$/ { sub(/^test /, ""); sub(/ \.\.\. FAILED$/, ""); failed[++failures] = program ": " $0 }
    /^test result: / { passed += $4; ignored += $8; programs++ }
    /process didn.t exit successfully/ && /signal:/ { sub(/^.*\(/, "("); failed[++failures] = program ": ended by itself " $0 }
    END {
        print ""
        for (n = 1; n <= failures; n++) print "FAILED  " failed[n]
        printf "%d passed, %d failed", passed, failures
        if (ignored) printf ", %d ignored", ignored
        printf " in %d programs\n", programs
    }' "$log"
exit "$status"
