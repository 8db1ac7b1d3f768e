//! Kernels without some socket options: a seccomp filter makes one of this, and the run goes on and says what is less
//! exact.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

use crate::harness::{Place, ends_with};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// `(code, jump if equal, jump if not, operand)`: see linux/bpf_common.h.
const fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Offsets in `struct seccomp_data`: number, architecture, low halves of the second and third argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const LEVEL: u32 = 24;
const NAME: u32 = 32;

/// Has the system refuse `setsockopt(_, SOL_SOCKET, option, …)` with ENOPROTOOPT for three options.
fn filter(options: [u32; 3]) -> [libc::sock_filter; 12] {
    let refuse = 0x0005_0000 | Errno::ENOPROTOOPT as u32;
    [
        step(LOAD, 0, 0, ARCH),
        step(IF_EQUAL, 0, 8, ARCHITECTURE),
        step(LOAD, 0, 0, NUMBER),
        step(IF_EQUAL, 0, 6, libc::SYS_setsockopt as u32),
        step(LOAD, 0, 0, LEVEL),
        step(IF_EQUAL, 0, 4, libc::SOL_SOCKET as u32),
        step(LOAD, 0, 0, NAME),
        step(IF_EQUAL, 3, 0, options[0]),
        step(IF_EQUAL, 2, 0, options[1]),
        step(IF_EQUAL, 1, 0, options[2]),
        step(RETURN, 0, 0, 0x7fff_0000),
        step(RETURN, 0, 0, refuse),
    ]
}

/// Takes the options away from a program and from all that it starts.
fn without(command: &mut Command, options: [u32; 3]) {
    let mut steps = filter(options);
    let refuse = move || {
        let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: the program and its steps outlive both calls, which are system calls and nothing else.
        let is_done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if is_done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: prctl(2), which is all that is called between fork and exec, is async-signal-safe.
    unsafe { command.pre_exec(refuse) };
}

const DROPS: u32 = libc::SO_RXQ_OVFL as u32;
/// SO_TIMESTAMPNS under its old and its new number.
const STAMPS: [u32; 2] = [35, 64];

#[test]
fn a_run_without_stamps_and_counts_of_drops_goes_on_and_says_what_is_less_exact() {
    const GATES: &str = r#"gates.require=["calls.answered == 100%", "calls.silent_count == 0", "loss.count == 0", "rtt.p50 < 10s"]"#;
    let [old, new] = STAMPS;
    for (options, said, not_said) in [
        ([DROPS, old, new], &["no receive stamps", "asked for at the end of each call"][..], "\0"),
        ([DROPS; 3], &["asked for at the end of each call"], "no receive stamps"),
        ([old, new, new], &["no receive stamps"], "asked for at the end of each call"),
    ] {
        let place = Place::new();
        let set = ["load.calls=2", "load.duration=2s", "measure.warmup=500ms", GATES];
        let mut run = place.run("smoke", &set);
        without(&mut run, options);
        ends_with(&mut run, 0);
        let environment = place.summary()["environment"].clone();
        let remarks = environment["remarks"].to_string();
        assert!(said.iter().all(|words| remarks.contains(words)), "{remarks}");
        assert!(!remarks.contains(not_said), "{remarks}");
        let has_none = environment["unstamped"].as_u64() > Some(0);
        assert_eq!(has_none, said.contains(&"no receive stamps"), "{environment}");
        place.assert_nothing_left();
    }
}

#[test]
fn a_ping_without_stamps_says_so_too() {
    let place = Place::new();
    let echo = loadtest::echo::EchoServer::start("127.0.0.1:0".parse().unwrap()).expect("an echo");
    let mut ping = place.program();
    ping.args(["ping", &echo.local_addr().to_string(), "--duration", "500ms"]);
    let [old, new] = STAMPS;
    without(&mut ping, [DROPS, old, new]);
    let said = ends_with(&mut ping, 0);
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("without the kernel's receive stamp"), "{text}");
}
