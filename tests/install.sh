#!/usr/bin/env bash
# Installs what the tests need besides Rust and Asterisk: SIPp, as a second opinion on SIP and RTP.
set -euo pipefail

if command -v sipp >/dev/null; then
    echo "SIPp is there: $(command -v sipp)"
elif ! command -v apt-get >/dev/null; then
    echo "tests/install.sh: SIPp is missing; install it with this system's package manager" >&2
    exit 1
elif [[ $EUID -ne 0 ]]; then
    echo "tests/install.sh: SIPp is missing; type: sudo apt-get install sip-tester" >&2
    exit 1
else
    echo "SIPp is missing; installing sip-tester"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends sip-tester >/dev/null
fi
