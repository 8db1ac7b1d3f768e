#!/usr/bin/env bash
# Unpacks a private Asterisk into the user's cache, unless there is one already.
set -euo pipefail
export LC_ALL=C

suite=forky
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=asterisk/packages.sh
. "$here/packages.sh"
if [[ -z ${XDG_CACHE_HOME:-}${HOME:-} ]]; then
    echo "asterisk/install.sh: neither HOME nor XDG_CACHE_HOME says where to; set one of them" >&2
    exit 1
fi
tree="${XDG_CACHE_HOME:-${HOME:-}/.cache}/loadtest/asterisk-$suite"
mark=.loadtest-complete # holds the version; `loadtest` looks for it too
work=                   # the half-done tree; removed however this script ends

usage() {
    cat <<EOF
Usage: asterisk/install.sh [--force | --dry-run]

Unpacks Debian $suite's Asterisk into $tree.
Nothing is installed system-wide, and running it takes no root. An Asterisk that
LOADTEST_ASTERISK names, or one on PATH with the modules that modules.conf asks
for, is used instead.

It is 250 MB on disk and takes about half a minute, most of it the download.
LOADTEST_INSTALL=no leaves it to you: what is missing is named, and the end is 1.

  --force     unpack it even if there is one that would do
  --dry-run   say what would be done, and do nothing
  --help      this text
EOF
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

cleanup() {
    if [[ -n $work ]]; then rm -rf -- "$work"; fi
}

# The modules without which an Asterisk is of no use here, one a line.
required_modules() { sed -n 's/^require = //p' "$here/modules.conf"; }

# missing_modules DIR: those of them that are not in DIR, on one line.
missing_modules() {
    local module missing=()
    while read -r module; do
        [[ -e $1/$module ]] || missing+=("$module")
    done < <(required_modules)
    say "${missing[*]-}"
}

# module_dir PREFIX: the folder of an installed Asterisk's modules, or nothing.
module_dir() {
    local dir conf=/etc/asterisk/asterisk.conf
    for dir in "$1"/lib/*-linux-gnu/asterisk/modules "$1"/lib{,64}/asterisk/modules; do
        if [[ -d $dir ]]; then
            say "$dir"
            return
        fi
    done
    if [[ -r $conf ]]; then
        sed -n 's/^[[:space:]]*astmoddir[[:space:]]*=>\{0,1\}[[:space:]]*\([^;]*[^;[:space:]]\).*/\1/p' "$conf" | head -n 1
    fi
}

# Succeeds if the Asterisk on PATH has the modules; says what it lacks if not.
installed_one_does() {
    local program modules missing
    program=$(PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v asterisk) || return 1
    program=$(readlink -f "$program")
    modules=$(module_dir "$(dirname "$(dirname "$program")")")
    if [[ -z $modules ]]; then
        say "$program is not used: its modules are not found"
        return 1
    fi
    missing=$(missing_modules "$modules")
    if [[ -n $missing ]]; then
        say "$program is not used: $modules lacks $missing"
        return 1
    fi
    say "$("$program" -V) is installed: $program"
}

need_tools() {
    local keyring=/usr/share/keyrings/debian-archive-keyring
    command -v mmdebstrap >/dev/null || install_packages "mmdebstrap is" mmdebstrap
    # Another distribution does not have Debian's keys, and without them nothing can be checked.
    [[ -e $keyring.gpg || -e $keyring.pgp ]] || install_packages "Debian's keyring is" debian-archive-keyring
    if [[ $EUID -ne 0 ]] && ! command -v fakechroot >/dev/null && ! unshare --map-auto true 2>/dev/null; then
        install_packages "fakechroot (user namespaces are not to be had) is" fakechroot
    fi
}

mode() {
    if [[ $EUID -eq 0 ]]; then
        say root
    elif command -v fakechroot >/dev/null && command -v fakeroot >/dev/null; then
        say fakechroot
    else
        say unshare
    fi
}

# unpack DIR LOG [MMDEBSTRAP-OPTION...]. Called in a condition, where "set -e" does not hold.
unpack() {
    local dir=$1 log=$2 how
    shift 2
    how=$(mode)
    local debootstrap=(mmdebstrap --mode="$how" --variant=extract --include=asterisk "$@" "$suite")
    if [[ $how = unshare ]]; then
        # By way of tar: a user namespace would leave files that are not this user's.
        "${debootstrap[@]}" - 2>"$log" |
            tar --extract --directory="$dir" --no-same-owner --exclude='./dev/*' 2>>"$log" || return
    else
        "${debootstrap[@]}" "$dir" >"$log" 2>&1 || return
    fi
    rm -rf -- "${dir:?}/dev" "$dir/usr/share/man" "$dir/usr/share/locale"
}

fetch() {
    local dir=$1 log=$2
    if unpack "$dir" "$log"; then return; fi
    if grep -q 'is expired (invalid since' "$log"; then
        rm -rf -- "$dir"
        mkdir -- "$dir"
        if unpack "$dir" "$log" --aptopt='Acquire::Check-Valid-Until "false"'; then
            say "The mirror's Release file has expired, so its date was not checked. Its signature was."
            return
        fi
    fi
    tail -n 15 "$log" >&2
    if grep -q NO_PUBKEY "$log"; then
        die "Debian's keyring on this machine is too old for $suite; install a newer debian-archive-keyring"
    fi
    die "mmdebstrap could not unpack Asterisk; see above"
}

# run_tree DIR ARG...: its Asterisk, with its own loader and libraries.
run_tree() {
    local dir=$1 loader libraries
    shift
    loader=$(find "$dir"/usr/lib/*-linux-gnu "$dir"/lib/*-linux-gnu -maxdepth 1 -name 'ld-linux*.so*' 2>/dev/null | sort | head -n 1) || true
    libraries=$(printf '%s:' "$dir"/usr/lib/*-linux-gnu "$dir"/lib/*-linux-gnu "$dir/usr/lib" "$dir/lib")
    "$loader" --library-path "${libraries%:}" "$dir/usr/sbin/asterisk" "$@"
}

install_tree() {
    local version cache missing
    cache=$(dirname "$tree")
    mkdir -p -- "$cache"
    # One at a time: who comes second finds the first one's tree.
    exec 9>"$cache/install.lock"
    flock 9
    if [[ $force = no && -e $tree/$mark ]]; then return; fi
    need_tools
    rm -rf -- "$cache"/.unpacking-*
    work=$(mktemp -d "$cache/.unpacking-XXXXXX")
    mkdir -- "$work/tree"
    say "Unpacking Debian $suite's Asterisk into $tree (250 MB, about half a minute) ..."
    fetch "$work/tree" "$work/log"
    missing=$(missing_modules "$(module_dir "$work/tree/usr")")
    [[ -z $missing ]] || die "Debian $suite's Asterisk lacks $missing"
    version=$(run_tree "$work/tree" -V) || die "the unpacked Asterisk does not run on this machine"
    say "$version" >"$work/tree/$mark"
    if [[ -e $tree ]]; then mv -T -- "$tree" "$work/old"; fi
    mv -T -- "$work/tree" "$tree"
}

force=no
dry_run=no
case ${1-} in
'') ;;
--force) force=yes ;;
--dry-run) dry_run=yes ;;
-h | --help)
    usage
    exit
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
[[ $# -le 1 ]] || die "one argument at most; see --help"

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [[ $force = no ]]; then
    if [[ -n ${LOADTEST_ASTERISK-} ]]; then
        say "LOADTEST_ASTERISK names an Asterisk: $LOADTEST_ASTERISK"
        exit
    fi
    if installed_one_does; then exit; fi
    if [[ -e $tree/$mark ]]; then
        say "$(cat "$tree/$mark") is there: $tree"
        exit
    fi
fi
if [[ $dry_run = yes ]]; then
    say "Debian $suite's Asterisk would be unpacked into $tree (250 MB, about half a minute)"
    exit
fi
may_install || said_no "an Asterisk is" "LOADTEST_INSTALL=yes asterisk/install.sh, or name yours in LOADTEST_ASTERISK"
install_tree
say "$(cat "$tree/$mark") is there: $tree"
