//! Admission: a caller gets a place among the calls, a port and a socket, or is turned away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};

use super::{App, Entry};
use crate::ari::call::AriCall;
use crate::ari::outcome::ServiceOutcome;
use crate::ari::{CallIds, MediaTarget};
use crate::rtp::Codec;
use crate::service::sockets::Sockets;
use crate::stamp::Stamp;

/// Callers known at once, those included that are being turned away: far more than an Asterisk carries.
const MOST_CALLS: usize = 20_000;

/// Descriptors for what is no call: 64 requests to Asterisk at once, 128 connections to /health and /metrics, and
/// what a process has anyway.
const RESERVED: u64 = 256;

/// Kind of the lines about calls that are refused for want of a port.
pub(super) const NO_PORT: &str = "no port";

impl App {
    pub(super) fn on_call(&mut self, at: Stamp, channel: &str, args: &[String]) {
        self.shared.record().calls.total += 1;
        if self.calls.len() >= MOST_CALLS {
            self.shared.record().calls.unheeded += 1;
            return;
        }
        self.serial += 1;
        let ids = CallIds::new(&self.config.app, channel);
        let seed = self.seed ^ self.serial;
        match self.port_for_call(at) {
            Ok((port, host)) => {
                let format = format_of(args, self.config.codec);
                let target = MediaTarget { app: self.config.app.clone(), host, format };
                self.insert(channel, AriCall::new(at, ids, target, seed), Some(port));
            }
            Err(why) => self.insert(channel, AriCall::turn_away(at, ids, why, seed), None),
        }
    }

    pub(super) fn insert(&mut self, caller: &str, call: AriCall, port: Option<u16>) {
        let caller: Arc<str> = caller.into();
        self.started.extend(port.map(|port| (port, call.started_at())));
        self.calls.insert(caller.clone(), Entry { call, serial: self.serial, port, hang_up_at: None });
        self.carry_out(&caller);
        self.count_active();
    }

    /// Takes a port, binds it and hands its socket to the reflector; else the reason to turn the
    /// caller away.
    fn port_for_call(&mut self, now: Stamp) -> Result<(u16, SocketAddr), ServiceOutcome> {
        if self.stop_by.is_some() {
            return Err(ServiceOutcome::Shutdown);
        }
        let (ip, echo, is_full) = (self.config.media_ip, self.echo, self.ports.in_use() >= self.most_sockets);
        let bind = |port| match is_full {
            true => Err(io::Error::other("the limit of file descriptors leaves room for no further call")),
            false => Sockets::bind((ip, port).into(), echo),
        };
        match self.ports.take(now, bind) {
            Ok((port, sockets)) => {
                // The SSRC only has to differ between streams (RFC 3550 section 8.1).
                let ssrc = (self.seed ^ self.serial.wrapping_mul(0x9E37_79B9)) as u32;
                self.reflector.add(port, sockets, ssrc);
                Ok((port, SocketAddr::new(ip, port)))
            }
            Err(error) => {
                match self.repeats.add(NO_PORT, now) {
                    Some(0) => tracing::error!("{error}"),
                    Some(refused) => {
                        tracing::error!("{error}; {refused} other calls refused since last said")
                    }
                    None => {}
                }
                Err(ServiceOutcome::NoPort)
            }
        }
    }
}

/// The media channel's format: the dialplan's word if it says one, else the configured one.
fn format_of(args: &[String], configured: Codec) -> &'static str {
    let said = |codec: &Codec| args.first().is_some_and(|arg| arg == codec.asterisk_name());
    [Codec::Pcmu, Codec::Pcma].into_iter().find(said).unwrap_or(configured).asterisk_name()
}

/// Calls that the limit of descriptors leaves room for, with one socket each or two.
pub(super) fn most_sockets(has_echo: bool) -> u64 {
    // Invariant of the kernel: reading a resource limit that exists does not fail; 1024 is the usual one.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    (limit - RESERVED.min(limit / 4)) / if has_echo { 2 } else { 1 }
}
