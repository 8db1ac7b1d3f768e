//! Processes of a run on this machine that it has not started: an external Asterisk, an external service.
//!
//! Their CPU is the run's own load, not that of other programs.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};

use crate::scenario::Transport;

/// Programs that pass a container's published ports on.
const FORWARDERS: [&str; 2] = ["docker-proxy", "rootlessport"];

/// A process of the run, as far as this machine shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// It uses nothing of this machine.
    Elsewhere,
    /// Its process.
    Process(u32),
    /// It is on this machine, and its process belongs to another user, or to another network namespace.
    Hidden,
}

impl Neighbour {
    /// Its process, where it is known.
    pub fn pid(self) -> Option<u32> {
        match self {
            Neighbour::Process(pid) => Some(pid),
            Neighbour::Elsewhere | Neighbour::Hidden => None,
        }
    }
}

/// Looks for the process that receives SIP at `address`.
pub fn bound_to(address: SocketAddr, transport: Transport) -> Neighbour {
    if !is_own(address.ip()) {
        return Neighbour::Elsewhere;
    }
    let is_it = |bound: SocketAddr| {
        bound.port() == address.port() && (bound.ip() == address.ip() || bound.ip().is_unspecified())
    };
    let inodes = if transport.is_reliable() {
        let entries = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
        let listening = entries.filter(|entry| entry.state == TcpState::Listen && is_it(entry.local_address));
        listening.map(|entry| entry.inode).collect()
    } else {
        let entries = [procfs::net::udp(), procfs::net::udp6()].into_iter().flatten().flatten();
        entries.filter(|entry| is_it(entry.local_address)).map(|entry| entry.inode).collect()
    };
    holder(inodes)
}

/// Looks for a process, other than this one, with a TCP connection to one of `addresses`.
pub fn connected_to(addresses: &[SocketAddr]) -> Neighbour {
    let entries = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
    let is_it = |state: &TcpState, to: SocketAddr| {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        *state == TcpState::Established && addresses.contains(&to)
    };
    let connected = entries.filter(|entry| is_it(&entry.state, entry.remote_address));
    let own: HashSet<u64> = Process::myself().map(|process| sockets(&process).collect()).unwrap_or_default();
    let inodes: HashSet<u64> =
        connected.map(|entry| entry.inode).filter(|inode| !own.contains(inode)).collect();
    if inodes.is_empty() { Neighbour::Elsewhere } else { holder(inodes) }
}

/// True if packets to `ip` stay on this machine: only an address of its own can be bound.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn holder(inodes: HashSet<u64>) -> Neighbour {
    let processes = all_processes().into_iter().flatten().flatten();
    let mut holding = processes.filter(|process| sockets(process).any(|inode| inodes.contains(&inode)));
    match holding.next() {
        // A forwarder receives for a container's published port; it is not the container.
        Some(process) if process.stat().is_ok_and(|stat| FORWARDERS.contains(&stat.comm.as_str())) => {
            Neighbour::Hidden
        }
        Some(process) => u32::try_from(process.pid).map_or(Neighbour::Hidden, Neighbour::Process),
        None => Neighbour::Hidden,
    }
}

/// Inodes of a process's sockets; none of one that this one may not look at.
pub fn sockets(process: &Process) -> impl Iterator<Item = u64> {
    process.fd().into_iter().flatten().flatten().filter_map(|fd| match fd.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command};

    use super::*;

    /// Another process that holds a socket.
    fn holding(socket: impl Into<OwnedFd>) -> Child {
        Command::new("sleep").arg("60").stdin(socket.into()).spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn who_receives_at_an_address_of_this_machine_is_found() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let child = holding(socket);
        assert_eq!(bound_to(address, Transport::Udp), Neighbour::Process(child.id()));
        end(child);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let child = holding(listener);
        assert_eq!(bound_to(address, Transport::Tls), Neighbour::Process(child.id()));
        end(child);
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert_eq!(
            bound_to(nobody, Transport::Udp),
            Neighbour::Hidden,
            "it may be in another network namespace"
        );
        assert_eq!(bound_to("192.0.2.1:5060".parse().unwrap(), Transport::Udp), Neighbour::Elsewhere);
    }

    #[test]
    fn who_is_connected_to_a_port_is_found_and_is_not_this_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let own = TcpStream::connect(address).unwrap();
        assert_eq!(connected_to(&[address]), Neighbour::Elsewhere);
        let child = holding(TcpStream::connect(address).unwrap());
        assert_eq!(connected_to(&[address]), Neighbour::Process(child.id()));
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], address.port()));
        assert_eq!(connected_to(&[elsewhere]), Neighbour::Elsewhere, "the same port of another host");
        end(child);
        drop(own);
    }
}
