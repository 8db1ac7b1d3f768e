#!/usr/bin/env bash
# docker-compose.yml from the build to the report: a run that passes, and one whose gate must break.
# Ports of its own, as far as they go; PORT_RANGE and the others may be given in the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export COMPOSE_PROJECT_NAME=loadtest-compose-test
export SIP_PORT=${SIP_PORT:-5061} ARI_PORT=${ARI_PORT:-8089} SERVICE_PORT=${SERVICE_PORT:-9091}
export ASTERISK_RTP_PORTS=${ASTERISK_RTP_PORTS:-18000-18999} MEDIA_PORTS=${MEDIA_PORTS:-40000-40998}
export SCENARIO=scenarios/compose.toml

read -r -a compose <<<"${COMPOSE:-docker-compose}"
log=$(mktemp)

die() {
    printf 'compose.sh: %s\n' "$*" >&2
    tail -n 40 "$log" >&2
    exit 1
}

finish() {
    "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -f -- "$log"
}
trap finish EXIT

# up CODE [OPTION...]: the run has to end with CODE; the report folder it leaves is in $folder.
up() {
    local code=$1 status=0 before
    shift
    before=$(find reports -mindepth 1 -maxdepth 1 | sort)
    "${compose[@]}" up "$@" --exit-code-from loadtest >"$log" 2>&1 || status=$?
    [[ $status -eq $code ]] || die "it ended with $status, not with $code"
    folder=$(comm -13 <(printf '%s\n' "$before") <(find reports -mindepth 1 -maxdepth 1 | sort))
    [[ -n $folder && -d $folder ]] || die "there is not one new folder in reports/: $folder"
}

# holds TEXT: whether the summary has it, white space apart.
holds() { tr -d '[:space:]' <"$folder/summary.json" | grep --quiet --fixed-strings -- "$1"; }

"${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true

up 0 --build
holds '"outcome":"pass"' || die "the verdict is not pass"
holds '"packets":{"sent":2500,' || die "5 calls of 10 s are not 2,500 packets"
holds '"answered_count":5,' || die "not all calls were answered"
[[ -s $folder/report.html && -s $folder/calls.csv ]] || die "the report is not whole"
foreign=$(find "$folder" ! -uid "$(stat -c %u reports)")
[[ -z $foreign ]] || die "not the caller's own: $foreign"
if grep --quiet --recursive --fixed-strings ARI_PASS "$folder"; then die "the account is in the report"; fi
if grep --quiet 'ARI_PASS  [^(]' "$log"; then die "the password is in the log"; fi
for image in loadtest loadtest-asterisk; do
    if docker history --no-trunc "$image" | grep --quiet ARI_PASS; then die "a secret is in the image $image"; fi
done
rm -rf -- "$folder"

# One port for five calls: four are turned away, the gate breaks, and so does the exit code.
PORT_RANGE=29000-29000 up 10
holds '"answered_count":1,' || die "one port did not carry one call"
rm -rf -- "$folder"

echo "docker-compose: a run that passes and one that does not, as they should"
