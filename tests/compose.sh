#!/usr/bin/env bash
# The images and docker-compose.yml, from the build to the report: what each image says by its exit code and leaves to
# its caller, a run of containers that passes, one whose gate must break, and one through a service of one's own.
# Ports of its own, as far as they go; PORT_RANGE and the others may be given in the environment.
#
#     tests/compose.sh          COMPOSE="docker compose" or "docker-compose"; without it, the one that is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "Building two images and running calls in them: about 15 minutes on two cores the first time, 3 afterwards."

export COMPOSE_PROJECT_NAME=loadtest-compose-test
export SIP_PORT=${SIP_PORT:-5061} ARI_PORT=${ARI_PORT:-8089} SERVICE_PORT=${SERVICE_PORT:-9091}
export ASTERISK_RTP_PORTS=${ASTERISK_RTP_PORTS:-18000-18999} MEDIA_PORTS=${MEDIA_PORTS:-40000-40998}
export PORT_RANGE=${PORT_RANGE:-21000-21999}
export SCENARIO=scenarios/compose.toml

if [[ -z ${COMPOSE:-} ]]; then
    COMPOSE=docker-compose
    if docker compose version >/dev/null 2>&1; then COMPOSE="docker compose"; fi
fi
read -r -a compose <<<"$COMPOSE"
own=(-f docker-compose.yml -f docker-compose.own-service.yml)
work=$(mktemp -d)
log=$work/log

die() {
    printf 'compose.sh: %s\n' "$*" >&2
    tail -n 40 "$log" >&2
    exit 1
}

finish() {
    "${compose[@]}" "${own[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -rf -- "$work"
}
trap finish EXIT

# ends CODE COMMAND...: it has to end with CODE.
ends() {
    local code=$1 status=0
    shift
    "$@" >"$log" 2>&1 || status=$?
    [[ $status -eq $code ]] || die "it ended with $status, not with $code: $*"
}

# holds TEXT: whether the summary in $folder has it, white space apart.
holds() { tr -d '[:space:]' <"$folder/summary.json" | grep --quiet --fixed-strings -- "$1"; }

# up CODE [OPTION...]: the run of Compose has to end with CODE; the report folder it leaves is in $folder.
up() {
    local code=$1 before
    shift
    before=$(find reports -mindepth 1 -maxdepth 1 | sort)
    ends "$code" "${compose[@]}" "$@" up --exit-code-from loadtest
    folder=$(comm -13 <(printf '%s\n' "$before") <(find reports -mindepth 1 -maxdepth 1 | sort))
    [[ -n $folder && -d $folder ]] || die "there is not one new folder in reports/: $folder"
    [[ -s $folder/report.html && -s $folder/calls.csv ]] || die "the report is not whole"
    foreign=$(find "$folder" ! -uid "$(stat -c %u reports)")
    [[ -z $foreign ]] || die "not the caller's own: $foreign"
    if grep --quiet --recursive --fixed-strings ARI_PASS "$folder"; then die "the account is in the report"; fi
    if grep --quiet 'ARI_PASS  [^(]' "$log"; then die "the password is in the log"; fi
}

# The images.
for image in loadtest loadtest-asterisk; do
    ends 0 docker build --network host --target "$image" --tag "$image" .
    if docker history --no-trunc "$image" | grep --quiet ARI_PASS; then die "a secret is in the image $image"; fi
    user=$(docker image inspect --format '{{.Config.User}}' "$image")
    [[ $user != "" && $user != root && $user != 0* ]] || die "$image runs as root"
    printf '%s: %s MB\n' "$image" "$(($(docker image inspect --format '{{.Size}}' "$image") / 1000000))"
done

# The program alone, as anybody: exit codes, and what it writes is its caller's.
mkdir -- "$work/mine"
cp -- scenarios/*.toml "$work/mine"
chown -R 12345:12345 "$work/mine"
alone=(docker run --rm --network none --user 12345:12345 --cap-drop ALL --read-only --tmpfs /tmp
    --volume "$work/mine:/srv/loadtest")
ends 0 "${alone[@]}" loadtest --version
ends 2 "${alone[@]}" loadtest run none.toml
ends 2 "${alone[@]}" loadtest run smoke.toml --set load.calls=0
ends 1 "${alone[@]}" loadtest run smoke.toml
grep --quiet "no usable Asterisk" "$log" || die "it does not say that there is no Asterisk in the image"

# With its Asterisk: whole runs in one container, without a network.
for run in "0 calls.answered_count == 5" "10 rtt.p50 > 60s"; do
    folder=$work/mine/report-${run%% *}
    ends "${run%% *}" "${alone[@]}" loadtest-asterisk run smoke.toml --out "/srv/loadtest/${folder##*/}" \
        --set load.duration=3s --set limits.send_lateness_p99=1h --set limits.missed_slots=100% \
        --set limits.thread_cpu=100% --set "gates.require=[\"${run#* }\"]"
    [[ -s $folder/report.html && -s $folder/summary.md ]] || die "the report is not whole"
    foreign=$(find "$work/mine" ! -uid 12345)
    [[ -z $foreign ]] || die "not the caller's own: $foreign"
done

# Containers.
"${compose[@]}" "${own[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
up 0
holds '"outcome":"pass"' || die "the verdict is not pass"
holds '"packets":{"sent":2500,' || die "5 calls of 10 s are not 2,500 packets"
holds '"answered_count":5,' || die "not all calls were answered"
rm -rf -- "$folder"

# One port for five calls: four are turned away, the gate breaks, and so does the exit code.
PORT_RANGE=29000-29000 up 10
holds '"answered_count":1,' || die "one port did not carry one call"
rm -rf -- "$folder"

# A service of one's own in the place of the built-in one.
"${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
ends 0 "${compose[@]}" "${own[@]}" build service
up 0 "${own[@]}"
holds '"answered_count":5,' || die "one's own service did not answer all calls"
rm -rf -- "$folder"

echo "$COMPOSE: runs that pass and runs that do not, as they should"
