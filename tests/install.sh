#!/usr/bin/env bash
# Installs the programs named as arguments, which checks and tests need besides Rust and Asterisk:
# sipp, a second opinion on SIP and RTP; chromium, which reads the report; irtt, a peer of the benches; the
# linter of the scripts; groff, which sets the manual pages; and curl, which an example uses.
# node-echo is what the example of that name needs: Node.js, and its packages in the user's cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Unpacks the packages that the example's lock file names, unless they are there already.
node_echo() {
    local example=$here/../examples/node-echo cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/loadtest
    local packages=$cache/node-echo
    mkdir -p -- "$cache"
    # One at a time: who comes second finds the first one's packages.
    exec 9>"$cache/node-echo.lock"
    flock 9
    if cmp -s "$example/package-lock.json" "$packages/complete"; then return; fi
    echo "The packages of examples/node-echo are missing; installing them into $packages"
    rm -rf -- "$packages"
    mkdir -- "$packages"
    cp -- "$example/package.json" "$example/package-lock.json" "$packages"
    npm --prefix "$packages" ci --loglevel=error --no-audit --no-fund
    cp -- "$packages/package-lock.json" "$packages/complete"
}

for program in "$@"; do
    case $program in
        sipp) package=sip-tester ;;
        node-echo)
            # Not every package of Node.js has npm in it.
            command -v npm >/dev/null || "$0" node npm
            node_echo
            continue
            ;;
        node) package=nodejs ;;
        groff) package=groff-base ;;
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
