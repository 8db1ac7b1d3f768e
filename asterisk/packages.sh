# shellcheck shell=bash
# Debian packages for the scripts beside it and tests/install.sh, which source it. What is installed is said before
# it begins, and LOADTEST_INSTALL=no leaves it to the user.

# may_install: succeeds unless LOADTEST_INSTALL=no.
may_install() { [[ ${LOADTEST_INSTALL:-yes} != no ]]; }

# said_no WHAT HINT: ends where LOADTEST_INSTALL=no, with the command that installs WHAT.
said_no() {
    printf '%s: %s missing, and LOADTEST_INSTALL=no leaves the installing to you; type: %s\n' "${0##*/}" "$1" "$2" >&2
    exit 1
}

# install_packages WHAT PACKAGE...: installs them as root, else says what to type. WHAT ends in "is" or "are".
install_packages() {
    local what=$1
    shift
    if ! command -v apt-get >/dev/null; then
        printf "%s: %s missing; install with this system's package manager: %s\n" "${0##*/}" "$what" "$*" >&2
        exit 1
    fi
    may_install || said_no "$what" "sudo apt-get install $*"
    if [[ $EUID -ne 0 ]]; then
        printf '%s: %s missing; type: sudo apt-get install %s\n' "${0##*/}" "$what" "$*" >&2
        exit 1
    fi
    printf '%s missing; installing %s (up to 2 minutes; LOADTEST_INSTALL=no leaves it to you)\n' "$what" "$*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}
