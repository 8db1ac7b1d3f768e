//! Options of sockets that a kernel may lack (gVisor, WSL 1, simulators): a run goes on without them, and says what is
//! less exact.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::udp;

/// Options that this kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Stamps of receipt (SO_TIMESTAMPNS); without them a packet's time is that of its reading.
    pub stamps: bool,
    /// Counts of what a full socket has dropped, with the datagrams that come after (SO_RXQ_OVFL).
    pub drops_with_datagrams: bool,
    /// The same count when asked for (SO_MEMINFO).
    pub drops_when_asked: bool,
}

impl Capabilities {
    /// Asks the kernel, on a socket that nobody uses. Without a socket nothing is known to be missing.
    pub fn here() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP));
        let Ok(socket) = socket else {
            return Capabilities { stamps: true, drops_with_datagrams: true, drops_when_asked: true };
        };
        let (stamps, drops_with_datagrams) = ask_for_stamps_and_drops(&socket);
        let drops_when_asked = udp::drops(&UdpSocket::from(socket)).is_ok();
        Capabilities { stamps, drops_with_datagrams, drops_when_asked }
    }

    /// What is less exact without the missing ones, each a sentence.
    pub fn missing(self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.stamps {
            missing.push(
                "this kernel has no receive stamps (SO_TIMESTAMPNS): a packet's and an answer's time is that of its \
                 reading, so that round trips, jitter, late packets and delays of calls are upper bounds; measure on \
                 Linux itself for exact ones"
                    .into(),
            );
        }
        match self {
            Capabilities { drops_with_datagrams: true, .. } => {}
            Capabilities { drops_when_asked: true, .. } => missing.push(
                "this kernel does not tell of socket drops with the packets (SO_RXQ_OVFL): they are asked for at the \
                 end of each call, and stand in the second of that"
                    .into(),
            ),
            Capabilities { .. } => missing.push(
                "this kernel does not count what full sockets drop (SO_RXQ_OVFL, SO_MEMINFO): packets that the \
                 driver itself was too slow for count as lost on the way"
                    .into(),
            ),
        }
        missing
    }
}

/// Asks for stamps and counts of drops on a socket; returns which of them the kernel gives. What comes without a stamp
/// is counted where it is read.
pub(super) fn ask_for_stamps_and_drops(socket: &impl AsFd) -> (bool, bool) {
    let stamps = setsockopt(socket, sockopt::ReceiveTimestampns, &true).is_ok();
    (stamps, setsockopt(socket, sockopt::RxqOvfl, &1).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_by_what_it_makes_less_exact() {
        let all = Capabilities { stamps: true, drops_with_datagrams: true, drops_when_asked: true };
        assert_eq!(all.missing(), Vec::<String>::new());
        let said = |capabilities: Capabilities| capabilities.missing().join("\n");
        assert!(said(Capabilities { stamps: false, ..all }).contains("upper bounds"));
        let asked = Capabilities { drops_with_datagrams: false, ..all };
        assert!(said(asked).contains("asked for at the end of each call"));
        let none = said(Capabilities { drops_when_asked: false, ..asked });
        assert!(none.contains("count as lost on the way") && !none.contains("asked for"));
        // Without one way of counting the other does.
        assert_eq!(said(Capabilities { drops_when_asked: false, ..all }), "");
    }
}
