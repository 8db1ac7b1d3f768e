#!/usr/bin/env bash
# The images and docker-compose.yml, from the build to the report: what each image says by its exit code and leaves to
# its caller, a run of containers that passes, one whose gate must break, one through a service of one's own, and three
# drivers of a Docker Swarm of one node, by examples/distributed/ and its README. A swarm that the engine is in already is left
# alone, and nothing of that part is run.
# Ports of its own, as far as they go; PORT_RANGE and the others may be given in the environment.
#
#     tests/compose.sh          COMPOSE="docker compose" or "docker-compose"; without it, the one that is there
#     tests/compose.sh swarm    that part alone, with the images loadtest and loadtest-asterisk that are there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export COMPOSE_PROJECT_NAME=loadtest-compose-test
export SIP_PORT=${SIP_PORT:-5061} ARI_PORT=${ARI_PORT:-8089} SERVICE_PORT=${SERVICE_PORT:-9091}
export ASTERISK_RTP_PORTS=${ASTERISK_RTP_PORTS:-18000-18999} MEDIA_PORTS=${MEDIA_PORTS:-40000-40998}
export PORT_RANGE=${PORT_RANGE:-21000-21999} RENDEZVOUS_PORT=${RENDEZVOUS_PORT:-7401}
export SCENARIO=scenarios/compose.toml

if [[ -z ${COMPOSE:-} ]]; then
    COMPOSE=docker-compose
    if docker compose version >/dev/null 2>&1; then COMPOSE="docker compose"; fi
fi
read -r -a compose <<<"$COMPOSE"
own=(-f docker-compose.yml -f docker-compose.own-service.yml)
work=$(mktemp -d)
log=$work/log
: >"$log"
stack=$COMPOSE_PROJECT_NAME

die() {
    printf 'compose.sh: %s\n' "$*" >&2
    tail -n 40 "$log" >&2
    exit 1
}

finish() {
    leave_swarm
    "${compose[@]}" "${own[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -rf -- "$work"
}
trap finish EXIT

# leave_swarm: the swarm that enter_swarm has made, with its containers and what else it leaves behind.
swarm=none
leave_swarm() {
    [[ $swarm == ours ]] || return 0
    swarm=none
    docker swarm leave --force >/dev/null 2>&1 || true
    # The engine has the containers for a moment longer.
    for _ in $(seq 20); do
        if docker volume rm --force "${stack}_reports" >/dev/null 2>&1; then break; fi
        sleep 0.5
    done
    if [[ $bridge == new ]]; then docker network rm docker_gwbridge >/dev/null 2>&1 || true; fi
}

# enter_swarm: a swarm of this engine alone, whose manager listens on the loopback.
enter_swarm() {
    bridge=new
    if docker network inspect docker_gwbridge >/dev/null 2>&1; then bridge=old; fi
    ends 0 docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377
    swarm=ours
    ends 0 docker node update --label-add loadtest=first "$(docker node ls --quiet)"
}

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

# status FIELD TASK: what the engine says of a task.
status() { docker inspect --format "{{.Status.$1}}" "$2"; }

# code_of TASK: its exit code, once it has ended.
code_of() {
    for _ in $(seq 180); do
        case $(status State "$1") in
            complete | failed | rejected | shutdown | orphaned) break ;;
        esac
        sleep 1
    done
    status ContainerStatus.ExitCode "$1" 2>/dev/null || echo "no code"
}

# The example of a swarm as its README has it for fewer nodes than drivers, with a short load; Asterisk and the service are
# Compose's.
swarm_part() {
    local task tasks container code folders=()
    "${compose[@]}" "${own[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    ends 0 "${compose[@]}" up --detach asterisk service
    "${compose[@]}" exec -T asterisk cat /run/loadtest/ari.env >"$work/.env"
    sed -e 's/^calls = .*/calls = 6/' -e 's/^duration = .*/duration = "10s"/' -e '/rtt\.p99/d' \
        examples/distributed/load.toml >"$work/load.toml"
    cat >>"$work/load.toml" <<TOML

[media]
ports = "$MEDIA_PORTS"

[limits]
send_lateness_p99 = "1s"
missed_slots = "100%"
thread_cpu = "100%"
TOML
    enter_swarm
    (
        set -a
        # shellcheck source=/dev/null
        . "$work/.env"
        set +a
        key=$(head --bytes 16 /dev/urandom | base64)
        image=$(docker image inspect --format '{{.Id}}' loadtest)
        export LOADTEST_KEY=$key IMAGE=$image RENDEZVOUS=127.0.0.1:$RENDEZVOUS_PORT SCENARIO=$work/load.toml
        export OTHERS="node.platform.os == linux" PER_NODE=2
        ends 0 docker stack deploy --resolve-image never --compose-file examples/distributed/swarm.yml "$stack"
    )
    for _ in $(seq 20); do
        tasks=$(docker service ps --quiet "${stack}_first" "${stack}_others")
        if [[ $(wc --lines <<<"$tasks") -eq 3 ]]; then break; fi
        sleep 0.5
    done
    [[ $(wc --lines <<<"$tasks") -eq 3 ]] || die "there are not three tasks: $tasks"
    for task in $tasks; do
        code=$(code_of "$task")
        docker service logs --raw "$task" >"$log" 2>&1 || true
        [[ $(status State "$task") == complete && $code == 0 ]] || die "a driver ended with $code: $(status Err "$task")"
        container=$(status ContainerStatus.ContainerID "$task")
        ends 0 docker cp "$container:/srv/loadtest/reports" "$work/$container"
        folders+=("$work/$container"/*)
    done
    # On one node the fastest driver coordinates.
    folder=
    for task in "${folders[@]}"; do
        if [[ -d $task/shards ]]; then folder=$task; fi
    done
    [[ -n $folder && -s $folder/report.html ]] || die "no driver has the report of all"
    for code in 0 1 2; do [[ -d $folder/shards/$code ]] || die "the share of driver $code is not there"; done
    holds '"outcome":"pass"' || die "the verdict is not pass"
    holds '"answered_count":6,' || die "not all calls were answered"
    [[ $(tr -d '[:space:]' <"$folder/summary.json" | grep --only-matching '"missing":""' | wc --lines) -eq 3 ]] ||
        die "a shard is missing"
    if grep --quiet --recursive --fixed-strings ARI_PASS "$folder"; then die "the account is in the report"; fi
    leave_swarm
    echo "Docker Swarm: three drivers on one node made one run"
}

swarm_state=$(docker info --format '{{.Swarm.LocalNodeState}}')
if [[ ${1:-} == swarm ]]; then
    [[ $swarm_state == inactive ]] || die "this engine is in a swarm ($swarm_state), which is not the test's to touch"
    swarm_part
    exit
fi
echo "Building two images and running calls in them: about 15 minutes on two cores the first time, 4 afterwards."

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

if [[ $swarm_state == inactive ]]; then
    swarm_part
else
    echo "Docker Swarm: not tried, for this engine is in one ($swarm_state), which is not the test's to touch"
fi

echo "$COMPOSE: runs that pass and runs that do not, as they should"
