//! UDP sockets whose packets carry the kernel's receive stamp and its count of drops.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockRef, Socket, Type};

use super::capabilities::ask_for_stamps_and_drops;
use crate::clock;
use crate::stamp::Stamp;

/// Bytes that the kernel counts against the receive buffer for one G.711 packet: its own, and the kernel's
/// book-keeping (a quarter of a page and `struct sk_buff`).
const PACKET_IN_BUFFER: usize = 1280;

/// A receive buffer in which a second of so many packets has room, while nobody reads.
pub const fn buffer_for(packets_per_second: usize) -> usize {
    let least = 64 * 1024;
    let wanted = packets_per_second.saturating_mul(PACKET_IN_BUFFER);
    if wanted > least { wanted } else { least }
}

/// Binds a non-blocking UDP socket with SO_TIMESTAMPNS and SO_RXQ_OVFL, as far as the kernel has them, to `address`,
/// and asks for a receive buffer of `receive_buffer` bytes.
///
/// The kernel caps the buffer at net.core.rmem_max, but not for a program that may administer the
/// network; drops are counted, so the cap shows.
///
/// # Errors
/// Errors of the system calls; `AddrInUse` when another program holds the port.
pub fn bind_stamped(address: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    bind(address, receive_buffer, false)
}

/// The same on a port that several sockets of this program share (SO_REUSEPORT): each has the datagrams of its own
/// senders.
///
/// # Errors
/// As [`bind_stamped`].
pub fn bind_shared(address: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    bind(address, receive_buffer, true)
}

fn bind(address: SocketAddr, receive_buffer: usize, is_shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if is_shared {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
        socket.set_recv_buffer_size(receive_buffer)?;
    }
    ask_for_stamps_and_drops(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Datagrams that a socket has dropped so far for lack of room, also those after which nothing
/// more was received to tell of them (SO_MEMINFO).
///
/// # Errors
/// Errors of getsockopt(2).
pub fn drops(socket: &UdpSocket) -> io::Result<u32> {
    // SK_MEMINFO_DROPS is the last of nine numbers (linux/sock_diag.h).
    let mut numbers = [0u32; 9];
    let mut len = size_of_val(&numbers) as libc::socklen_t;
    let to = (&raw mut numbers).cast();
    // SAFETY: the pointer and the length are those of a live array.
    match unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &raw mut len)
    } {
        0 => Ok(numbers[8]),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes of a socket's receive buffer, as the kernel counts them.
///
/// # Errors
/// Errors of getsockopt(2).
pub fn receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    // The kernel reports twice what it was asked for, and counts its own book-keeping in.
    Ok(SockRef::from(socket).recv_buffer_size()? / 2)
}

/// Throws away what has come, and returns how many datagrams of it were not the peer's: whoever knows the port can
/// have sent them.
pub fn flush(socket: &UdpSocket, peer: SocketAddr) -> u64 {
    // As many as a buffer of the largest size in use holds, if nothing is in them; a flood is not waited for.
    const ROUNDS: usize = 64;
    let mut batch = Batch::new(16, 1);
    let mut others = 0;
    for _ in 0..ROUNDS {
        if batch.receive(socket, |datagram| others += u64::from(datagram.from != peer)).is_err() {
            break;
        }
    }
    others
}

/// Undoes connect(2): datagrams of everybody are received again. A socket that was bound to port 0 gets another port
/// by that; one that was bound by number keeps its own, and everything that lies in it.
///
/// # Errors
/// Errors of connect(2).
pub fn disconnect(socket: &UdpSocket) -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this C struct.
    let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let len = size_of_val(&nobody) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a live struct.
    match unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Its bytes, cut at the batch's buffer size.
    pub bytes: &'a [u8],
    /// True when the datagram was longer than the buffer.
    pub truncated: bool,
    /// Its sender.
    pub from: SocketAddr,
    /// The kernel's receive stamp; the time of reading where the kernel gave none.
    pub received_at: Stamp,
    /// Datagrams that this socket has dropped since it was made, for lack of buffer space.
    /// The kernel tells only once there are some.
    pub drops: Option<u32>,
}

/// Room for two control messages: a timespec and a 32-bit count.
pub(super) const CONTROL_LEN: usize = 64;

#[derive(Clone)]
#[repr(align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

/// Buffers for receiving many datagrams with one recvmmsg(2), reused for ever.
///
/// The headers are written once; what the kernel has changed in one is put right as its datagram is taken. nix's own batch
/// does not reset the control length between calls, which cuts stamps off.
pub struct Batch {
    headers: Vec<libc::mmsghdr>,
    size: usize,
    unstamped: u64,
    /// What the headers point to. It is reached through them alone.
    _memory: Memory,
}

/// Memory that the headers of a batch point into. None of it moves with the struct.
struct Memory {
    _vectors: Vec<libc::iovec>,
    _data: Vec<u8>,
    _control: Vec<Control>,
    _names: Vec<libc::sockaddr_storage>,
}

// SAFETY: all pointers are into memory that the batch owns, and nobody else has any.
unsafe impl Send for Batch {}

const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

impl Batch {
    /// Buffers for `count` datagrams of at most `size` bytes each.
    pub fn new(count: usize, size: usize) -> Self {
        // SAFETY: all-zero is a valid value of these C structs.
        let (header, name) = unsafe { std::mem::zeroed::<(libc::mmsghdr, libc::sockaddr_storage)>() };
        let mut data = vec![0; count * size];
        let mut control = vec![Control([0; CONTROL_LEN]); count];
        let mut names = vec![name; count];
        let part = |part: &mut [u8]| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: size };
        let mut vectors: Vec<_> = data.chunks_exact_mut(size.max(1)).map(part).collect();
        let mut headers = vec![header; count];
        let memory = vectors.iter_mut().zip(&mut control).zip(&mut names);
        for (header, ((vector, control), name)) in headers.iter_mut().zip(memory) {
            let header = &mut header.msg_hdr;
            (header.msg_iov, header.msg_iovlen) = (vector, 1);
            (header.msg_name, header.msg_namelen) = ((&raw mut *name).cast(), NAME_LEN);
            (header.msg_control, header.msg_controllen) = (control.0.as_mut_ptr().cast(), CONTROL_LEN as _);
        }
        let memory = Memory { _vectors: vectors, _data: data, _control: control, _names: names };
        Batch { headers, size, unstamped: 0, _memory: memory }
    }

    /// Datagrams so far to which the kernel gave no stamp: theirs is the time of reading.
    pub fn unstamped(&self) -> u64 {
        self.unstamped
    }

    /// Receives what is there, without waiting, and hands each datagram to `each`.
    /// Returns how many there were; a full batch means that there may be more.
    ///
    /// # Errors
    /// Errors of recvmmsg(2), `WouldBlock` when there was nothing.
    pub fn receive(&mut self, socket: &impl AsFd, mut each: impl FnMut(Datagram<'_>)) -> io::Result<usize> {
        let got = self.fill(socket)?;
        (0..got).for_each(|n| each(self.take(n)));
        Ok(got)
    }

    /// Receives what is there, for [`Batch::take`]. Returns how many datagrams there are.
    ///
    /// # Errors
    /// As [`Batch::receive`].
    pub fn fill(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        let (fd, into) = (socket.as_fd().as_raw_fd(), self.headers.as_mut_ptr());
        let (count, at_once) = (self.headers.len() as _, libc::MSG_DONTWAIT as _);
        // SAFETY: every pointer in the headers points into live memory of this struct, with its true length.
        let got = unsafe { libc::recvmmsg(fd, into, count, at_once, std::ptr::null_mut()) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// Takes datagram `n` of those that [`Batch::fill`] has brought, each once: its header is ready for the next one then.
    pub fn take(&mut self, n: usize) -> Datagram<'_> {
        let message = &mut self.headers[n];
        let header = &mut message.msg_hdr;
        let len = (message.msg_len as usize).min(self.size);
        let (stamp, drops) = read_control(header);
        self.unstamped += u64::from(stamp.is_none());
        // SAFETY: the header's only vector has `size` bytes, which nobody else reaches, and its name is a
        // sockaddr_storage.
        let (bytes, name) = unsafe {
            let data = (*header.msg_iov).iov_base.cast_const().cast::<u8>();
            (std::slice::from_raw_parts(data, len), &*header.msg_name.cast::<libc::sockaddr_storage>())
        };
        let (from, truncated) = (peer(name, header.msg_namelen), header.msg_flags & libc::MSG_TRUNC != 0);
        (header.msg_namelen, header.msg_controllen) = (NAME_LEN, CONTROL_LEN as _);
        let received_at = stamp.unwrap_or_else(clock::now);
        Datagram { bytes, truncated, from, received_at, drops }
    }
}

fn peer(name: &libc::sockaddr_storage, len: libc::socklen_t) -> SocketAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is as large and as aligned as what it is viewed as, and `len` is what the
    // kernel says that it wrote into `name`.
    let address = unsafe {
        *storage.view_as::<libc::sockaddr_storage>() = *name;
        SockAddr::new(storage, len)
    };
    address.as_socket().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
}

/// The receive stamp and the drop count among a message's control data.
pub(super) fn read_control(header: &libc::msghdr) -> (Option<Stamp>, Option<u32>) {
    let (mut stamp, mut drops) = (None, None);
    // SAFETY: the kernel filled `msg_control` and set `msg_controllen` to what it wrote; the CMSG
    // macros stay within that, and the data is read unaligned with its own size.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            let data = libc::CMSG_DATA(at);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let t: libc::timespec = data.cast::<libc::timespec>().read_unaligned();
                    stamp = Some(Stamp::from_ns(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => drops = Some(data.cast::<u32>().read_unaligned()),
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    (stamp, drops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (a, b) = (bind_stamped(any, 1 << 20).unwrap(), bind_stamped(any, 4096).unwrap());
        a.connect(b.local_addr().unwrap()).unwrap();
        (a, b)
    }

    #[test]
    fn a_batch_brings_bytes_sender_and_kernel_stamps_every_time() {
        let (a, b) = pair();
        let mut batch = Batch::new(8, 16);
        for round in 0u8..3 {
            let before = clock::now();
            for n in 0..3 {
                a.send(&[round, n]).unwrap();
            }
            a.send(&[9; 40]).unwrap();
            let mut seen = Vec::new();
            let got = batch
                .receive(&b, |d| {
                    assert_eq!(d.from, a.local_addr().unwrap());
                    assert!(d.received_at >= before && d.received_at <= clock::now());
                    seen.push((d.bytes.to_vec(), d.truncated));
                })
                .unwrap();
            assert_eq!(got, 4);
            assert_eq!(seen[2], (vec![round, 2], false));
            assert_eq!(seen[3], (vec![9; 16], true));
        }
        assert_eq!(batch.receive(&b, |_| {}).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(batch.unstamped(), 0);
    }

    #[test]
    fn a_connected_socket_hears_its_peer_alone_sends_to_anybody_and_is_opened_again() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bind = |address| bind_stamped(address, 1 << 16).unwrap();
        let (peer, other) = (bind(any), bind(any));
        // By number, as the calls' are.
        let free = UdpSocket::bind(any).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let socket = bind(address);
        let heard = || {
            let (mut batch, mut from) = (Batch::new(8, 16), Vec::new());
            let _ = batch.receive(&socket, |datagram| from.push(datagram.from.port()));
            from
        };
        let all_send = || {
            peer.send_to(b"x", address).unwrap();
            let _ = other.send_to(b"x", address);
        };
        let [at_peer, at_other] = [&peer, &other].map(|socket| socket.local_addr().unwrap());
        all_send();
        all_send();
        assert_eq!((flush(&socket, at_peer), heard()), (2, vec![]));
        socket.connect(at_peer).unwrap();
        all_send();
        assert_eq!(heard(), [at_peer.port()]);
        socket.send_to(b"y", at_other).unwrap();
        let mut batch = Batch::new(8, 16);
        assert_eq!(batch.receive(&other, |datagram| assert_eq!(datagram.from, address)).unwrap(), 1);
        all_send();
        disconnect(&socket).unwrap();
        all_send();
        assert_eq!(socket.local_addr().unwrap(), address);
        assert_eq!(heard(), [at_peer.port(), at_peer.port(), at_other.port()]);
        socket.send_to(b"z", at_peer).unwrap();
    }

    #[test]
    fn what_has_no_stamp_is_counted() {
        let (a, b) = pair();
        setsockopt(&b, sockopt::ReceiveTimestampns, &false).unwrap();
        a.send(&[1]).unwrap();
        let mut batch = Batch::new(8, 16);
        batch.receive(&b, |_| {}).unwrap();
        assert_eq!(batch.unstamped(), 1);
    }

    #[test]
    fn drops_are_counted_even_after_a_batch_without_any() {
        let (a, b) = pair();
        let mut batch = Batch::new(64, 1500);
        a.send(&[0; 100]).unwrap();
        batch.receive(&b, |d| assert_eq!(d.drops, None)).unwrap();
        for _ in 0..400 {
            a.send(&[0; 1000]).unwrap();
        }
        let mut kept = 0;
        while let Ok(n) = batch.receive(&b, |_| {}) {
            kept += n;
        }
        assert_eq!(drops(&b).unwrap(), 400 - kept as u32, "told without another datagram");
        a.send(&[0; 10]).unwrap();
        let mut drops = None;
        batch.receive(&b, |d| drops = d.drops).unwrap();
        assert_eq!(drops, Some(400 - kept as u32));
    }
}
