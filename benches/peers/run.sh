#!/usr/bin/env bash
# Measures loadtest beside its peers, in one go on this machine, and writes BENCHMARKS.md.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
loadtest=$root/target/release/loadtest
peers=$root/target/release/examples/peers

seconds=${BENCH_SECONDS:-20}              # measured, of each contestant in each round
rounds=${BENCH_ROUNDS:-3}
streams=${BENCH_STREAMS:-200}             # of the pacing part
media_streams=${BENCH_MEDIA_STREAMS:-200 1000 2000}   # of the bare sender and reader
media_lanes=${BENCH_MEDIA_LANES:-1 2}
limit_calls=${BENCH_LIMIT_CALLS:-1000}
limit_seconds=${BENCH_LIMIT_SECONDS:-60}
base=${BENCH_PORT:-36000}                 # the first of five UDP ports on the loopback interface
output=${BENCH_OUTPUT:-$root/BENCHMARKS.md}

callee=127.0.0.1:$base
caller_port=$((base + 1))
sink_port=$((base + 2))
echo_at=127.0.0.1:$((base + 3))
irtt_at=127.0.0.1:$((base + 4))

work=$(mktemp -d)
results=$work/results
mkdir "$results"
children=()

say() { printf '%s\n' "$*" >&2; }

die() {
    say "benches/peers/run.sh: $*"
    exit 1
}

# start COMMAND...: in the background, with its output in a log, until stop_all.
start() {
    "$@" >"$work/$(basename "$1").log" 2>&1 </dev/null &
    children+=($!)
}

stop_all() {
    local pid
    for pid in ${children[@]+"${children[@]}"}; do kill "$pid" 2>/dev/null || true; done
    for pid in ${children[@]+"${children[@]}"}; do wait "$pid" 2>/dev/null || true; done
    children=()
}

cleanup() {
    stop_all
    rm -rf -- "$work"
}

# guarded COMMAND...: in the foreground, but so that a signal to this script ends it too.
guarded() {
    local pid status=0
    "$@" </dev/null &
    pid=$!
    children+=("$pid")
    wait "$pid" || status=$?
    unset 'children[-1]'
    return "$status"
}

# --- Round trips on a bare echo -------------------------------------------------------------------

rtt_loop() { guarded "$peers" roundtrip --to "$echo_at" --seconds "$seconds"; }

rtt_kernel() { guarded "$peers" roundtrip --to "$echo_at" --seconds "$seconds" --kernel; }

# One JSON object with p50_ms, p99_ms, sent, received.
rtt_loadtest() {
    guarded "$loadtest" ping "$echo_at" --streams 1 --duration "${seconds}s" --interval 20ms --json
}

rtt_irtt() {
    guarded irtt client -i 20ms -d "${seconds}s" -l 172 --wait=1s -Q -o "$work/irtt.json" "$irtt_at" >&2 &&
        "$peers" irtt "$work/irtt.json"
}

round_trips() {
    local round=$1 who
    start "$loadtest" echo --listen "$echo_at"
    start irtt server -b "$irtt_at" -i 1ms
    sleep 1
    for who in loop kernel loadtest irtt; do
        if [[ $who = loadtest ]] && ! "$loadtest" ping --help >/dev/null 2>&1; then continue; fi
        say "round $round: round trips by $who"
        "rtt_$who" >"$results/rtt-$who.$round.json" || die "$who failed"
    done
    stop_all
}

# --- Pacing ---------------------------------------------------------------------------------------

# callee CALLS SINK: a SIPp that answers that many calls and has their media sent to the port SINK.
callee() {
    start sipp -sf "$here/uas.xml" -key sink "$2" -i 127.0.0.1 -p "$base" -m "$1" -nostdin
    sleep 1
}

# run_calls CALLS SECONDS: the arguments of loadtest for these calls.
run_calls() {
    printf '%s\n' run "$here/pacing.toml" --out "$work/run" --set "asterisk.sip=$callee" \
        --set "load.calls=$1" --set "load.duration=${2}s"
}

# grid [OPTION...] -- COMMAND...: measures the streams of a sender.
grid() {
    guarded "$peers" grid --listen "127.0.0.1:$sink_port" --streams "$streams" --seconds "$seconds" --echo \
        "$@" 2>"$work/grid.log"
}

pacing_sipp() {
    grid -- sipp -sf "$work/uac.xml" -i 127.0.0.1 -mi 127.0.0.1 -p "$caller_port" \
        -r 100 -l "$streams" -m "$streams" -nostdin "$callee"
}

pacing_loadtest() {
    local args
    # Longer than is measured: the receiver stops it.
    mapfile -t args < <(run_calls "$streams" $((seconds + 60)))
    rm -rf -- "$work/run"
    grid --reads -- "$loadtest" "${args[@]}"
}

pacing_floor() {
    grid -- "$peers" send --to "127.0.0.1:$sink_port" --streams "$streams" --seconds $((seconds + 60))
}

pacing() {
    local round=$1 who order=(sipp loadtest floor)
    if ((round % 2 == 0)); then order=(floor loadtest sipp); fi
    for who in "${order[@]}"; do
        say "round $round: pacing of $streams streams by $who"
        callee "$streams" "$sink_port"
        "pacing_$who" >"$results/pacing-$who.$round.json" || die "$who failed: $(tail -n 5 "$work/grid.log")"
        stop_all
    done
}

# --- What the kernel asks for ----------------------------------------------------------------------

media() {
    local round=$1 count lanes first=()
    if ((round % 2 == 1)); then first=(--bare-first); fi
    for count in $media_streams; do
        for lanes in $media_lanes; do
            say "round $round: $count streams on $lanes lanes, bare and ours"
            guarded "$peers" media --streams "$count" --lanes "$lanes" --seconds "$seconds" \
                ${first[@]+"${first[@]}"} >"$results/media-$count-$lanes.$round.json" || die "the lanes failed"
        done
    done
}

# --- Transports -----------------------------------------------------------------------------------

# transport WHO: the keys that make the same calls go over it.
transport() {
    case $1 in
    tls) echo asterisk.transport=tls ;;
    srtp) echo media.srtp=true ;;
    tls-srtp) printf '%s\n' asterisk.transport=tls media.srtp=true ;;
    esac
}

# The same calls through an Asterisk of the run's own, which echoes them.
transports() {
    local round=$1 who key args status order=(udp tls srtp tls-srtp)
    if ((round % 2 == 0)); then order=(tls-srtp srtp tls udp); fi
    for who in "${order[@]}"; do
        say "round $round: $streams calls over $who"
        args=(run "$here/pacing.toml" --out "$work/run" --set asterisk.mode=managed --set sip.to=echo
            --set "load.calls=$streams" --set "load.duration=${seconds}s")
        for key in $(transport "$who"); do args+=(--set "$key"); done
        rm -rf -- "$work/run"
        status=0
        guarded "$loadtest" "${args[@]}" >"$work/transport.log" 2>&1 || status=$?
        # 12: as with the limit.
        [[ $status -eq 0 || $status -eq 12 ]] || die "the calls over $who failed: $(tail -n 5 "$work/transport.log")"
        cp "$work/run/summary.json" "$results/transport-$who.$round.json"
    done
}

# --- The limit ------------------------------------------------------------------------------------

limit() {
    local args status=0
    say "$limit_calls calls for $limit_seconds s"
    start "$loadtest" echo --listen "$echo_at"
    callee "$limit_calls" "${echo_at#*:}"
    mapfile -t args < <(run_calls "$limit_calls" "$limit_seconds")
    rm -rf -- "$work/run"
    guarded "$loadtest" "${args[@]}" >"$work/limit.log" 2>&1 || status=$?
    # 12: the machine was too busy to be believed. The table shows by how much.
    [[ $status -eq 0 || $status -eq 12 ]] || die "the run with $limit_calls calls failed: $(tail -n 5 "$work/limit.log")"
    cp "$work/run/summary.json" "$results/limit.1.json"
    stop_all
}

# --- The page -------------------------------------------------------------------------------------

machine() {
    local cpu
    cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
    echo "- $(nproc) CPUs, ${cpu:-of an unknown model}$(grep -qw hypervisor /proc/cpuinfo && echo ', virtual')"
    echo "- $(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo) of memory"
    echo "- Linux $(uname -r)"
    echo "- $("$loadtest" --version), $(irtt version 2>&1 | sed -n 's/^irtt version: /irtt /p'), $({ sipp -v || true; } | sed -n 's/^ *\(SIPp v[^-. ]*[0-9.]*\).*/\1/p')"
    echo "- load average before it began: $load_before"
}

page() {
    cat <<EOT
# Benchmarks

Written by \`make bench\` on $(date -u '+%Y-%m-%d %H:%M UTC'). Repeat it with

    make bench                                        # about half an hour
    make bench BENCH_SECONDS=5 BENCH_ROUNDS=1 BENCH_LIMIT_SECONDS=10    # a quick look

Compare figures of one page only: on another machine, or another day, all of them are different.
That is why there are ratios. In brackets: the smallest and the largest of the rounds.

## The machine

$(machine)

## What was measured

$rounds rounds, of each contestant ${seconds} s in each.

- **Round trip**: one stream of 172-byte datagrams, one every 20 ms. The minimal loop is one thread that
  waits, sends, and waits for the answer in \`recv\`; all but irtt ask the same \`loadtest echo\`. irtt can
  ask no other server than its own, and takes the time spent in there away.
- **Pacing**: both callers place $streams calls to the same SIPp, which has their media sent to a receiver of
  its own, with a kernel stamp on every packet, that sends each one back. *Error of the interval*:
  how far two consecutive packets of a stream are from being 20 ms apart. *Distance from the grid*: how
  far a packet is from its place on the best-fitting grid of 20 ms. *CPU*: of the whole caller, by
  /proc/PID/stat. loadtest reads and measures every packet that comes back. SIPp leaves them in its
  socket until the kernel throws them away, so its work is sending alone. The *bare sender* is the least
  that can pace: one thread in slots of 1 ms that sends packets made beforehand and reads nothing; its
  CPU is what the kernel alone asks for a packet sent.
- **What the kernel asks for**: streams to a \`loadtest echo\` in the same program, by a *bare* sender (packets made
  beforehand) and a *bare* reader (epoll and recvmmsg, kernel stamps, nothing looked at), and by our lanes, on the same
  kind of sockets: one after the other, in turns. CPU of their threads alone, by /proc/self/task/TID/schedstat; the echo has
  as many lanes, and its CPU is not counted. *Ratio*: our CPU a packet sent or read to the bare pair's.
- **Transports**: $streams calls through an Asterisk that the run starts, which echoes them; SIP over UDP or TLS, media
  plain or under SRTP. CPU of the driver in the measured window, a packet sent or read. The same by hand, where the row
  \`cpu.driver_mean\` tells:

      calls='--set service.mode=none --set sip.to=echo --set load.calls=$streams --set load.duration=${seconds}s'
      loadtest run scenarios/smoke.toml \$calls --out udp
      loadtest run scenarios/smoke.toml \$calls --set asterisk.transport=tls --out tls
      loadtest compare udp tls

- **The limit**: $limit_calls calls for $limit_seconds s, their media echoed by \`loadtest echo\`.

$("$peers" table "$results")

### What is done once a packet

$(sed -n '/[^[:space:]]/s/^/    /p' "$work/hot_paths")
EOT
}

for number in $media_streams $media_lanes "$seconds" "$rounds" "$streams" "$limit_calls" "$limit_seconds" "$base"; do
    [[ $number =~ ^[1-9][0-9]{0,4}$ ]] || die "not a number from 1 to 99999: $number"
done
[[ $seconds -le 600 && $rounds -le 20 && $limit_seconds -le 3600 ]] || die "that would take days"
for program in irtt sipp "$loadtest" "$peers"; do
    command -v "$program" >/dev/null || die "$program is missing; make bench gets it"
done

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Five seconds of anything will do: the receiver does not listen to it.
head -c 40000 /dev/urandom >"$work/tone.ulaw"
sed "s|@TONE@|$work/tone.ulaw|" "$here/uac.xml" >"$work/uac.xml"
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

for ((round = 1; round <= rounds; round++)); do
    round_trips "$round"
    pacing "$round"
    media "$round"
    transports "$round"
done
limit
say "what is done once a packet"
guarded cargo bench --manifest-path "$root/Cargo.toml" --quiet --locked --bench hot_paths \
    >"$work/hot_paths" 2>"$work/cargo.log" ||
    die "cargo bench failed: $(tail -n 5 "$work/cargo.log")"
page >"$work/page"
cp "$work/page" "$output"
cat "$output"
