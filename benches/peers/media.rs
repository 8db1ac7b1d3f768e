//! CPU a packet of our media lanes beside a bare sender and a bare reader: the same echo, the same sockets, one program.
//!
//! The bare pair is what the kernel asks for by itself. Its sender has packets made beforehand, stamps nothing and keeps
//! no books; its reader takes what is there with recvmmsg(2), kernel stamps included, and looks at none of it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use loadtest::clock::Timeline;
use loadtest::driver::{PingConfig, ping};
use loadtest::echo::EchoServer;
use loadtest::net::poller::Poller;
use loadtest::net::udp::{bind_stamped, buffer_for};
use loadtest::record::Environment;
use loadtest::rtp::packet::StreamSender;
use loadtest::rtp::probe::RunKey;
use loadtest::rtp::{Codec, Format};
use loadtest::values::Lanes;
use nix::libc;
use serde_json::{Value, json};

use crate::Outcome;

const INTERVAL: Duration = Duration::from_millis(20);
const SLOT: Duration = Duration::from_millis(1);
const SLOTS: usize = 20;
/// Before the measured time: every stream is under way by then.
const LEAD: Duration = Duration::from_secs(2);
/// Behind it: the contestant still sends when it ends.
const TAIL: Duration = Duration::from_secs(1);
const BATCH: usize = 32;

/// Measures both contestants, the bare one first in every other round.
pub fn measure(streams: u32, lanes: u32, seconds: u64, bare_first: bool) -> Outcome<Value> {
    let span = Duration::from_secs(seconds);
    let [mut bare, mut ours] = [Value::Null, Value::Null];
    for is_bare in [bare_first, !bare_first] {
        match is_bare {
            true => bare = by_bare(streams, lanes, span)?,
            false => ours = by_loadtest(streams, lanes, span)?,
        }
    }
    Ok(json!({ "streams": streams, "lanes": lanes, "bare": bare, "loadtest": ours }))
}

/// CPU of threads by their names' beginning, so far.
fn cpu_of(name: &str) -> Outcome<Duration> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let is_named = |comm: String| comm.starts_with(name);
        if fs::read_to_string(task.join("comm")).is_ok_and(is_named) {
            // Nanoseconds on a CPU are the first number (proc(5)).
            let stat = fs::read_to_string(task.join("schedstat"))?;
            sum += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).ok_or("no schedstat")?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// CPU of `[sender, reader]` threads over `span`, which begins after the lead.
fn watch(names: [&'static str; 2], span: Duration) -> Outcome<([f64; 2], f64)> {
    let timeline = Timeline::start();
    let begin = timeline.now() + LEAD;
    timeline.sleep_until(begin, Duration::ZERO);
    let before = [cpu_of(names[0])?, cpu_of(names[1])?];
    let from = timeline.now();
    timeline.sleep_until(begin + span, Duration::ZERO);
    let after = [cpu_of(names[0])?, cpu_of(names[1])?];
    let took = timeline.now().since(from).as_secs_f64();
    Ok(([0, 1].map(|n| after[n].saturating_sub(before[n]).as_secs_f64()), took))
}

/// Figures of a contestant that sent and read so many packets a second.
fn figures(cpu: [f64; 2], took: f64, [sent, read]: [f64; 2], lost: u64) -> Value {
    let [send_us, read_us] = [cpu[0] / (sent * took), cpu[1] / (read * took)].map(|s| 1e6 * s);
    let handled_us = 1e6 * (cpu[0] + cpu[1]) / ((sent + read) * took);
    let cores = (cpu[0] + cpu[1]) / took;
    json!({ "send_us": send_us, "read_us": read_us, "handled_us": handled_us, "cores": cores, "lost": lost })
}

fn by_loadtest(streams: u32, lanes: u32, span: Duration) -> Outcome<Value> {
    let echo = EchoServer::with_lanes((Ipv4Addr::LOCALHOST, 0).into(), lanes)?;
    let (_stop, stop) = tokio::sync::watch::channel(loadtest::driver::Stop::No);
    let config = PingConfig {
        environment: Environment::default(),
        target: echo.local_addr(),
        streams,
        lanes: Lanes::Fixed(lanes),
        duration: LEAD + span + TAIL,
        interval: INTERVAL,
        late_after: Duration::from_millis(60),
        lost_after: Duration::from_secs(2),
        run_id: 7,
        scheduling: Default::default(),
        stop,
        echoes: None,
    };
    let watching =
        thread::spawn(move || watch(["pacer", "receiver"], span).map_err(|error| error.to_string()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = runtime.block_on(ping(config))?;
    let (cpu, took) = watching.join().map_err(|_| "the watch has ended")??;
    let counts = |each: fn(&loadtest::record::CallRecord) -> u64| run.calls.iter().map(each).sum::<u64>();
    let [sent, lost] = [counts(|call| call.sent), counts(|call| call.lost)];
    let rate = sent as f64 / (LEAD + span + TAIL).as_secs_f64();
    Ok(figures(cpu, took, [rate; 2], lost))
}

fn by_bare(streams: u32, lanes: u32, span: Duration) -> Outcome<Value> {
    let echo = EchoServer::with_lanes((Ipv4Addr::LOCALHOST, 0).into(), lanes)?;
    let ended = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for lane in 0..lanes {
        let mut mine = Vec::new();
        for stream in (lane..streams).step_by(lanes as usize) {
            mine.push(open(stream, echo.local_addr())?);
        }
        let ears: Vec<_> = mine.iter().map(|(socket, _)| socket.clone()).collect();
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (sends, reads) = ((ended.clone(), counts.clone()), (ended.clone(), counts.clone()));
        threads.push((
            thread::Builder::new()
                .name("bare-send".into())
                .spawn(move || send(mine, &sends.0, &sends.1[0]))?,
            thread::Builder::new()
                .name("bare-read".into())
                .spawn(move || read(&ears, &reads.0, &reads.1[1]))?,
            counts,
        ));
    }
    let sum = |of: usize| threads.iter().map(|(_, _, counts)| counts[of].load(Relaxed)).sum::<u64>();
    let begin = [sum(0), sum(1)];
    let timeline = Timeline::start();
    let from = timeline.now();
    let watched = watch(["bare-send", "bare-read"], span);
    let took_all = timeline.now().since(from).as_secs_f64();
    let rates = [0, 1].map(|of| (sum(of) - begin[of]) as f64 / took_all);
    ended.store(true, Relaxed);
    let counts: Vec<_> = threads.iter().map(|(_, _, counts)| counts.clone()).collect();
    for (sender, reader, _) in threads {
        sender.join().map_err(|_| "the bare sender has ended")?;
        reader.join().map_err(|_| "the bare reader has ended")??;
    }
    let all = |of: usize| counts.iter().map(|counts| counts[of].load(Relaxed)).sum::<u64>();
    let (cpu, took) = watched?;
    Ok(figures(cpu, took, rates, all(0).saturating_sub(all(1))))
}

/// A stream's socket, as ours are, and its packet.
fn open(stream: u32, to: SocketAddr) -> Outcome<(Arc<UdpSocket>, Vec<u8>)> {
    let socket = bind_stamped(SocketAddr::new(to.ip(), 0), buffer_for(200))?;
    socket.connect(to)?;
    let now = Timeline::start().now();
    let mut sender =
        StreamSender::new(RunKey::new(0, [0; 16]), stream, stream, Format::of(Codec::Pcmu, INTERVAL));
    Ok((Arc::new(socket), sender.packet(now, now).to_vec()))
}

/// Sends each stream's packet once in 20 ms, spread over slots of 1 ms.
fn send(mut streams: Vec<(Arc<UdpSocket>, Vec<u8>)>, ended: &AtomicBool, sent: &AtomicU64) {
    let _ = nix::sys::prctl::set_timerslack(1);
    let timeline = Timeline::start();
    let mut due = timeline.now();
    for turn in 0.. {
        if ended.load(Relaxed) {
            return;
        }
        due += SLOT;
        timeline.sleep_until(due, Duration::ZERO);
        let mut count = 0;
        for (socket, packet) in streams.iter_mut().skip(turn % SLOTS).step_by(SLOTS) {
            let number = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(1);
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            count += u64::from(socket.send(packet).is_ok());
        }
        sent.fetch_add(count, Relaxed);
    }
}

/// Reads what comes, until the end and what comes within a second of it.
fn read(sockets: &[Arc<UdpSocket>], ended: &AtomicBool, read: &AtomicU64) -> io::Result<()> {
    let mut poller = Poller::new()?;
    for (token, socket) in (0..).zip(sockets) {
        poller.add(&**socket, token)?;
    }
    let mut data = vec![[0u8; 1600]; BATCH];
    let mut control = vec![[0u64; 8]; BATCH];
    let mut vectors: Vec<_> = data
        .iter_mut()
        .map(|data| libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() })
        .collect();
    // SAFETY: all-zero is a valid value of these C structs.
    let mut names: Vec<libc::sockaddr_storage> = vec![unsafe { std::mem::zeroed() }; BATCH];
    // SAFETY: as above.
    let mut headers: Vec<libc::mmsghdr> = vec![unsafe { std::mem::zeroed() }; BATCH];
    for n in 0..BATCH {
        let header = &mut headers[n].msg_hdr;
        header.msg_iov = &raw mut vectors[n];
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut names[n]).cast();
        header.msg_control = control[n].as_mut_ptr().cast();
    }
    let mut ready = Vec::with_capacity(1024);
    let mut quiet = 0;
    while quiet < 50 {
        ready.clear();
        poller.wait(20, |token| ready.push(token as usize))?;
        quiet = if ready.is_empty() && ended.load(Relaxed) { quiet + 1 } else { 0 };
        let mut count = 0;
        for token in &ready {
            for header in &mut headers {
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                header.msg_hdr.msg_controllen = size_of::<[u64; 8]>() as _;
            }
            let fd = sockets[*token].as_raw_fd();
            let (into, none) = (headers.as_mut_ptr(), std::ptr::null_mut());
            // SAFETY: every header points into buffers that live until the end of this function, with their true lengths.
            let got = unsafe { libc::recvmmsg(fd, into, BATCH as _, libc::MSG_DONTWAIT as _, none) };
            count += u64::try_from(got).unwrap_or(0);
        }
        read.fetch_add(count, Relaxed);
    }
    Ok(())
}
