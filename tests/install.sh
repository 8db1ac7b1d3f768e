#!/usr/bin/env bash
# Installs the programs named as arguments, which checks and tests need besides Rust and Asterisk:
# sipp, a second opinion on SIP and RTP; chromium, which reads the report; irtt, a peer of the benches; the
# linter of the scripts; groff, which sets the manual pages; curl and python3, which examples use; tshark, a second
# opinion on captures; and slurm, which starts drivers on hosts of its own.
# kubernetes-validate holds manifests against Kubernetes' schemas: a package of PyPI, into the user's cache.
# node-echo is what the examples in JavaScript need: Node.js, and packages in the user's cache.
#
#     tests/install.sh [--dry-run] PROGRAM...
#
# --dry-run says what is missing, and installs nothing; so does LOADTEST_INSTALL=no, which then ends with 1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=asterisk/packages.sh
. "$here/../asterisk/packages.sh"

example=$here/../examples/node-echo
cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/loadtest

dry_run=no
if [[ ${1-} = --dry-run ]]; then
    dry_run=yes
    shift
fi

has_node_echo() { cmp -s "$example/package-lock.json" "$cache/node-echo/complete"; }

# Unpacks the packages that the example's lock file names, unless they are there already.
node_echo() {
    local packages=$cache/node-echo
    mkdir -p -- "$cache"
    # One at a time: who comes second finds the first one's packages.
    exec 9>"$cache/node-echo.lock"
    flock 9
    if has_node_echo; then return; fi
    echo "examples/node-echo lacks its packages; npm unpacks them into $packages (about 10 s; LOADTEST_INSTALL=no leaves it to you)"
    rm -rf -- "$packages"
    mkdir -- "$packages"
    cp -- "$example/package.json" "$example/package-lock.json" "$packages"
    npm --prefix "$packages" ci --loglevel=error --no-audit --no-fund
    cp -- "$packages/package-lock.json" "$packages/complete"
}

# The version has the schemas of the Kubernetes versions that tests/it/kubernetes.rs names.
validator=kubernetes-validate==1.37.0
has_validator() { [[ -f $cache/${validator/==/-}/complete ]]; }

# Unpacks the validator with all that it needs, unless it is there already.
unpack_validator() {
    local packages=$cache/${validator/==/-}
    mkdir -p -- "$cache"
    exec 9>"$cache/kubernetes-validate.lock"
    flock 9
    if has_validator; then return; fi
    echo "The manifests' test lacks $validator; pip unpacks it into $packages (about 15 s, 120 MB; LOADTEST_INSTALL=no leaves it to you)"
    rm -rf -- "$packages"
    python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore --target "$packages" "$validator"
    touch -- "$packages/complete"
}

missing=()
packages=()
# want PROGRAM PACKAGE
want() {
    command -v "$1" >/dev/null && return
    missing+=("$1")
    packages+=("$2")
}

unpack=()
for program in "$@"; do
    case $program in
        sipp) want sipp sip-tester ;;
        groff) want groff groff-base ;;
        slurm)
            want slurmctld slurmctld
            want slurmd slurmd
            want srun slurm-client
            want munged munge
            want ip iproute2
            ;;
        node-echo)
            if has_node_echo && command -v node >/dev/null; then continue; fi
            unpack+=(node_echo)
            want node nodejs
            # Not every package of Node.js has npm in it.
            want npm npm
            ;;
        kubernetes-validate)
            if has_validator && command -v python3 >/dev/null; then continue; fi
            unpack+=(unpack_validator)
            want python3 python3
            python3 -m pip --version >/dev/null 2>&1 || want pip python3-pip
            ;;
        *) want "$program" "$program" ;;
    esac
done

# listed WORD...: the words with commas between them.
listed() {
    local text
    text=$(printf ', %s' "$@")
    printf '%s' "${text:2}"
}

if [[ $dry_run = yes ]]; then
    if [[ ${#packages[@]} -gt 0 ]]; then
        echo "$(listed "${missing[@]}"): Debian's ${packages[*]} (as root, up to 2 minutes)"
    fi
    for what in ${unpack[@]+"${unpack[@]}"}; do
        case $what in
            node_echo) echo "the packages of examples/node-echo: by npm, into $cache (about 10 s)" ;;
            *) echo "$validator: by pip, into $cache (about 15 s, 120 MB)" ;;
        esac
    done
    exit
fi
if [[ ${#packages[@]} -gt 0 ]]; then
    verb=is
    if [[ ${#missing[@]} -gt 1 ]]; then verb=are; fi
    install_packages "$(listed "${missing[@]}") $verb" "${packages[@]}"
fi
for what in ${unpack[@]+"${unpack[@]}"}; do
    case $what in
        node_echo) may_install || said_no "the packages of examples/node-echo are" "LOADTEST_INSTALL=yes $0 node-echo" ;;
        *) may_install || said_no "$validator is" "LOADTEST_INSTALL=yes $0 kubernetes-validate" ;;
    esac
    $what
done
