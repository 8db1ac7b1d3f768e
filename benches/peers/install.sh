#!/usr/bin/env bash
# Installs whom `make bench` compares with: irtt and SIPp.
set -euo pipefail

packages=()
for peer in irtt:irtt sipp:sip-tester; do
    if command -v "${peer%:*}" >/dev/null; then
        echo "${peer%:*} is there: $(command -v "${peer%:*}")"
    else
        packages+=("${peer#*:}")
    fi
done
if [[ ${#packages[@]} -eq 0 ]]; then exit; fi

if ! command -v apt-get >/dev/null; then
    echo "benches/peers/install.sh: install with this system's package manager: ${packages[*]}" >&2
    exit 1
elif [[ $EUID -ne 0 ]]; then
    echo "benches/peers/install.sh: type: sudo apt-get install ${packages[*]}" >&2
    exit 1
fi
echo "installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null
