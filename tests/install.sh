#!/usr/bin/env bash
# Installs the programs named as arguments, which checks and tests need besides Rust and Asterisk:
# sipp, a second opinion on SIP and RTP; irtt, a peer of the benches; and the linter of the scripts.
set -euo pipefail

for program in "$@"; do
    case $program in
        sipp) package=sip-tester ;;
        *) package=$program ;;
    esac
    if command -v "$program" >/dev/null; then
        continue
    elif ! command -v apt-get >/dev/null; then
        echo "tests/install.sh: $program is missing; install it with this system's package manager" >&2
        exit 1
    elif [[ $EUID -ne 0 ]]; then
        echo "tests/install.sh: $program is missing; type: sudo apt-get install $package" >&2
        exit 1
    fi
    echo "$program is missing; installing $package"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends "$package" >/dev/null
done
