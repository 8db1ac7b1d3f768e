//! Accuracy of a sender's 20 ms grid, by the kernel's stamps of arrival.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde_json::{Value, json};

use crate::{Outcome, quantile};

const INTERVAL_NS: i64 = 20_000_000;
/// From the last stream's first packet to the first one measured.
const WARM_UP_NS: u64 = 2_000_000_000;
/// Time within which all streams must have come.
const PATIENCE: u32 = 30;
const RECEIVE_BUFFER: usize = 8 << 20;

/// One packet: when it arrived, and its RTP sequence number.
type Arrival = (u64, u16);
/// The sender of a stream: address and SSRC.
type Source = (SocketAddr, [u8; 4]);

/// The sender; it does not outlive this program.
struct Sender(Child);

impl Sender {
    fn start(command: &[String]) -> Outcome<Self> {
        let (program, args) = command.split_first().ok_or("no sender")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: prctl(2) is async-signal-safe, and nothing else happens between fork and exec.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
        Ok(Sender(child))
    }

    /// CPU seconds of all its threads so far, as /proc/PID/stat has them.
    fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name, in parentheses, may hold anything. Behind it, utime and stime are 12th and 13th.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time");
        let per_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("no clock tick")? as f64;
        Ok((ticks(11)? + ticks(12)?) / per_second)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        for _ in 0..50 {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A blocking socket with kernel stamps.
struct Ears {
    socket: UdpSocket,
    control: Vec<u8>,
    drops: u32,
    echo: bool,
}

impl Ears {
    fn open(address: SocketAddr, echo: bool) -> Outcome<Self> {
        let socket =
            UdpSocket::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        // Only root may go beyond net.core.rmem_max; drops are counted in any case.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        Ok(Ears { socket, control: nix::cmsg_space!(nix::sys::time::TimeSpec, u32), drops: 0, echo })
    }

    /// The next RTP packet, or nothing after a while without any.
    fn hear(&mut self) -> Outcome<Option<(Source, Arrival)>> {
        let mut buffer = [0; 2048];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let fd = self.socket.as_raw_fd();
        let message =
            match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut self.control), MsgFlags::empty()) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        let (mut at, len) = (None, message.bytes);
        for item in message.cmsgs()? {
            match item {
                ControlMessageOwned::ScmTimestampns(t) => {
                    at = Some(t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64);
                }
                ControlMessageOwned::RxqOvfl(drops) => self.drops = drops,
                _ => {}
            }
        }
        let from = message.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|a| SocketAddr::from((a.ip(), a.port())));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::from((a.ip(), a.port()))))
        });
        let (Some(at), Some(from)) = (at, from) else {
            return Err("a packet without stamp or sender".into());
        };
        if len < 12 || buffer[0] >> 6 != 2 {
            return Ok(None);
        }
        if self.echo {
            // A sender that has gone shows in the figures.
            let _: io::Result<usize> = self.socket.send_to(&buffer[..len], from);
        }
        let ssrc = [buffer[8], buffer[9], buffer[10], buffer[11]];
        Ok(Some(((from, ssrc), (at, u16::from_be_bytes([buffer[2], buffer[3]])))))
    }
}

/// Runs `sender` and measures `streams` of its streams for the time of `how_long`. `reads` says whether
/// it reads what the echo sends back.
pub fn measure(
    listen: SocketAddr,
    streams: usize,
    how_long: Duration,
    echo: bool,
    reads: bool,
    sender: &[String],
) -> Outcome<Value> {
    let mut ears = Ears::open(listen, echo)?;
    let sender = Sender::start(sender)?;
    let from = wait_for(&mut ears, streams)? + WARM_UP_NS;
    let to = from + how_long.as_nanos() as u64;
    let mut arrivals: HashMap<Source, Vec<Arrival>> = HashMap::with_capacity(streams);
    let (mut cpu, mut quiet) = (None, 0);
    loop {
        let Some((source, (at, number))) = ears.hear()? else {
            quiet += 1;
            if quiet > 25 {
                return Err("the streams ended too early".into());
            }
            continue;
        };
        quiet = 0;
        if at < from {
            continue;
        }
        if cpu.is_none() {
            cpu = Some(sender.cpu()?);
        }
        if at >= to {
            break;
        }
        arrivals.entry(source).or_default().push((at, number));
    }
    let used = sender.cpu()? - cpu.unwrap_or_default();
    drop(sender);
    figures(&arrivals, used, ears.drops, echo && reads)
}

/// Waits until all streams have been seen; returns when the last of them was.
fn wait_for(ears: &mut Ears, streams: usize) -> Outcome<u64> {
    let mut seen: HashMap<Source, u64> = HashMap::with_capacity(streams);
    let (mut first, mut quiet) = (None, 0);
    loop {
        let Some((source, (at, _))) = ears.hear()? else {
            quiet += 1;
            if quiet > 5 * PATIENCE {
                return Err("no stream came".into());
            }
            continue;
        };
        let first = *first.get_or_insert(at);
        seen.entry(source).or_insert(at);
        if seen.len() >= streams {
            return Ok(at);
        }
        if at - first > u64::from(PATIENCE) * 1_000_000_000 {
            return Err(format!("only {} of {streams} streams came", seen.len()).into());
        }
    }
}

fn figures(
    arrivals: &HashMap<Source, Vec<Arrival>>,
    cpu: f64,
    drops: u32,
    both_ways: bool,
) -> Outcome<Value> {
    let packets: usize = arrivals.values().map(Vec::len).sum();
    let handled = if both_ways { 2 * packets } else { packets };
    let (mut gaps, mut deviations) = (Vec::with_capacity(packets), Vec::with_capacity(packets));
    for stream in arrivals.values() {
        gaps.extend(gap_errors(stream));
        deviations.extend(grid_errors(stream));
    }
    gaps.sort_unstable();
    deviations.sort_unstable();
    let ms = |sorted: &[u64], p| quantile(sorted, p).map(|ns| ns as f64 / 1e6);
    Ok(json!({
        "streams": arrivals.len(),
        "packets": packets,
        "drops": drops,
        "gap_p50_ms": ms(&gaps, 0.5),
        "gap_p99_ms": ms(&gaps, 0.99),
        "grid_p50_ms": ms(&deviations, 0.5),
        "grid_p99_ms": ms(&deviations, 0.99),
        "cpu_us": 1e6 * cpu / packets as f64,
        "cpu_us_handled": 1e6 * cpu / handled as f64,
    }))
}

/// Difference between each packet's distance from the one before it and the interval. Around a packet that
/// did not arrive there is none.
fn gap_errors(stream: &[Arrival]) -> impl Iterator<Item = u64> {
    stream.windows(2).filter_map(|pair| {
        let [(before, a), (at, b)] = pair else { return None };
        (b.wrapping_sub(*a) == 1).then(|| (at.abs_diff(*before) as i64 - INTERVAL_NS).unsigned_abs())
    })
}

/// Distance of each packet from its place on the grid of 20 ms that fits the stream best: the one that
/// runs through the median.
fn grid_errors(stream: &[Arrival]) -> Vec<u64> {
    let Some(&(start, first)) = stream.first() else { return Vec::new() };
    let (mut number, mut before) = (0i64, first);
    let mut offsets: Vec<i64> = Vec::with_capacity(stream.len());
    for &(at, now) in stream {
        number += i64::from(now.wrapping_sub(before) as i16);
        before = now;
        offsets.push((at - start) as i64 - number * INTERVAL_NS);
    }
    offsets.sort_unstable();
    let median = offsets[offsets.len() / 2];
    offsets.into_iter().map(|offset| offset.abs_diff(median)).collect()
}
