//! Addresses that a far end may name: neither the driver's own sockets nor what the kernel does not send to, and this
//! machine's loopback only if the far end is on this machine.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The driver's own sockets, and one to try others' addresses with.
#[derive(Debug)]
pub(super) struct Reach {
    local: IpAddr,
    /// By target: the far end is on this machine.
    is_here: Vec<bool>,
    own: HashSet<SocketAddr>,
    /// It is connected, and never sent from; without one, the kernel's word comes with the first packet.
    trial: Option<UdpSocket>,
}

impl Reach {
    /// For sockets on `local`, of which there are none yet, and far ends at `targets`.
    pub fn new(local: IpAddr, targets: impl IntoIterator<Item = IpAddr>) -> Self {
        // Nothing from a loopback address leaves this machine.
        let is_here = |target: IpAddr| local.is_loopback() || target.is_loopback() || target == local;
        let is_here = targets.into_iter().map(is_here).collect();
        let trial = UdpSocket::bind(SocketAddr::new(local, 0)).ok();
        let own = trial.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        Reach { local, is_here, own, trial }
    }

    /// Notes a socket of the driver's.
    pub fn add(&mut self, socket: SocketAddr) {
        self.own.insert(socket);
    }

    /// Notes the media port of a call, or that it is closed.
    pub fn port(&mut self, port: u16, is_open: bool) {
        let socket = SocketAddr::new(self.local, port);
        if is_open {
            self.own.insert(socket)
        } else {
            self.own.remove(&socket)
        };
    }

    /// Says why nothing of a call to target number `target` may be sent to `to`, if so.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn check(&self, target: usize, to: SocketAddr) -> Result<(), String> {
        let plain = SocketAddr::new(to.ip().to_canonical(), to.port());
        if self.own.contains(&plain) {
            return Err(format!("{to} is a socket of this driver, which would hear itself"));
        }
        // Services that listen there trust whoever reaches them.
        if plain.ip().is_loopback() && !self.is_here.get(target).copied().unwrap_or_default() {
            return Err(format!("{to} is this machine's loopback, and the far end is on another machine"));
        }
        let tried = self.trial.as_ref().map_or(Ok(()), |trial| trial.connect(to));
        tried.map_err(|error| format!("nothing can be sent to {to}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_sockets_and_what_the_kernel_refuses_are_refused() {
        let mut reach = Reach::new([127, 0, 0, 1].into(), [[127, 0, 0, 1].into()]);
        reach.add("127.0.0.1:5070".parse().unwrap());
        reach.port(40_000, true);
        let check = |reach: &Reach, to: &str| reach.check(0, to.parse().unwrap());
        for to in [
            "127.0.0.1:5070",
            "127.0.0.1:40000",
            "[::ffff:127.0.0.1]:40000",
            "127.255.255.255:4000",
            "255.255.255.255:4000",
            "[2001:db8::1]:4000",
        ] {
            assert!(check(&reach, to).is_err_and(|why| why.contains(to)), "{to}");
        }
        let own = reach.trial.as_ref().unwrap().local_addr().unwrap();
        assert!(reach.check(0, own).is_err());
        for to in ["127.0.0.1:40002", "127.0.0.2:40000", "127.0.0.1:5060"] {
            assert_eq!(check(&reach, to), Ok(()), "{to}");
        }
        reach.port(40_000, false);
        assert_eq!(check(&reach, "127.0.0.1:40000"), Ok(()));
    }

    #[test]
    fn loopback_is_for_a_far_end_on_this_machine() {
        let [here, local, elsewhere] =
            ["127.0.0.1", "192.0.2.9", "192.0.2.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        for to in ["127.0.0.1:5060", "127.0.0.2:5060", "[::ffff:127.0.0.1]:5060", "[::1]:5060"] {
            let checked = Reach::new(local, [elsewhere]).check(0, to.parse().unwrap());
            assert!(checked.is_err_and(|why| why.contains("loopback")), "{to}");
        }
        for (local, target) in [(here, here), (here, elsewhere), (local, here), (local, local)] {
            assert_eq!(Reach::new(local, [target]).check(0, "127.0.0.2:5060".parse().unwrap()), Ok(()));
        }
        // Each call's far end by itself.
        let both = Reach::new(local, [elsewhere, here]);
        let checked = [0, 1, 2].map(|target| both.check(target, "127.0.0.2:5060".parse().unwrap()).is_ok());
        assert_eq!(checked, [false, true, false]);
    }
}
