//! TCP connections of this machine to Asterisk's ARI, at either end: a program in another network namespace shows only
//! at Asterisk's.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::Process;

use super::neighbours::sockets;

/// A connection: the address of whoever has connected, and that of ARI.
type Ends = (SocketAddr, SocketAddr);

/// Connections to a port that others than this program have, and the inode of the socket that has connected where this
/// network namespace has it.
#[derive(Debug, Clone, Default)]
pub struct Connections(HashMap<Ends, Option<u64>>);

impl Connections {
    /// The established ones to `port`, on any host.
    pub fn to_port(port: u16) -> Connections {
        let entries: Vec<TcpNetEntry> =
            [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten().collect();
        // Read after the connections: what this program has closed meanwhile is still there.
        let own: HashSet<u64> = Process::myself().map(|own| sockets(&own).collect()).unwrap_or_default();
        Connections::among(&entries, port, &own)
    }

    fn among(entries: &[TcpNetEntry], port: u16, own: &HashSet<u64>) -> Connections {
        let (mut all, mut ours) = (HashMap::new(), HashSet::new());
        for entry in entries.iter().filter(|entry| entry.state == TcpState::Established) {
            let (here, there) = (plain(entry.local_address), plain(entry.remote_address));
            if there.port() == port {
                all.insert((here, there), Some(entry.inode));
                if own.contains(&entry.inode) {
                    ours.insert((here, there));
                }
            } else if here.port() == port {
                all.entry((there, here)).or_insert(None);
            }
        }
        all.retain(|ends, _| !ours.contains(ends));
        Connections(all)
    }

    /// Those of them that were not there `before`.
    pub fn since(mut self, before: &Connections) -> Connections {
        self.0.retain(|ends, _| !before.0.contains_key(ends));
        self
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if a process holds the socket of one of them, and this one may look at it.
    pub fn is_of(&self, process: &Process) -> bool {
        sockets(process).any(|inode| self.0.values().any(|known| *known == Some(inode)))
    }
}

/// An address as one end writes it and the other may not: IPv4 within IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_connection_of_another_program_is_seen_at_its_end_and_at_asterisks() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let own = TcpStream::connect(address).unwrap();
        let before = Connections::to_port(address.port());
        assert!(before.is_empty(), "this program's own do not count: {before:?}");
        let theirs = TcpStream::connect(address).unwrap();
        let ends = (theirs.local_addr().unwrap(), address);
        let mut child = Command::new("sleep").arg("60").stdin(OwnedFd::from(theirs)).spawn().unwrap();
        let now = Connections::to_port(address.port()).since(&before);
        assert_eq!(now.0.keys().collect::<Vec<_>>(), [&ends]);
        let process = Process::new(child.id().cast_signed()).unwrap();
        assert!(now.is_of(&process) && !now.is_of(&Process::myself().unwrap()));
        assert!(now.clone().since(&now).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        // Of one in another network namespace only Asterisk's end shows.
        let mut entries = procfs::net::tcp().unwrap();
        entries.retain(|entry| entry.local_address == address && entry.state == TcpState::Established);
        entries.truncate(1);
        let seen = Connections::among(&entries, address.port(), &HashSet::new());
        assert_eq!(seen.0.into_iter().collect::<Vec<_>>(), [((own.local_addr().unwrap(), address), None)]);
    }
}
