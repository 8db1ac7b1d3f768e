//! TCP connections whose bytes carry the kernel's receive stamp, and which are waited for many at once.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};

use nix::libc;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::capabilities::ask_for_stamps_and_drops;
use super::udp::{CONTROL_LEN, Control, read_control};
use crate::stamp::Stamp;

/// A connection to one peer, open or about to be.
#[derive(Debug)]
pub struct StampedStream {
    stream: TcpStream,
}

impl StampedStream {
    /// Begins to connect from `from`, whose port 0 is any, to `to`; nobody waits here.
    ///
    /// # Errors
    /// Errors of the system calls; a connection that is refused at once is one.
    pub fn begin(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // The port of a connection that has just ended is taken again: the peer knows us by it.
        socket.set_reuse_address(true)?;
        // A message is sent whole.
        socket.set_tcp_nodelay(true)?;
        ask_for_stamps_and_drops(&socket);
        socket.bind(&from.into())?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            begun => begun?,
        }
        Ok(StampedStream { stream: TcpStream::from_std(socket.into())? })
    }

    /// Our own end.
    ///
    /// # Errors
    /// Errors of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// True once it is open.
    ///
    /// # Errors
    /// The reason for which it never will be.
    pub fn is_connected(&self) -> io::Result<bool> {
        let ask = || {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
                Err(error) => Err(error),
            }
        };
        match self.now_or_later(Interest::WRITABLE, ask) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there, with the time at which its last byte came, if the kernel tells. No bytes are the end.
    ///
    /// # Errors
    /// Errors of recvmsg(2), `WouldBlock` when there was nothing.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Stamp>)> {
        self.now_or_later(Interest::READABLE, || receive(&self.stream, buffer))
    }

    /// Sends as much as the kernel takes.
    ///
    /// # Errors
    /// Errors of send(2), `WouldBlock` when it takes nothing now.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let socket = SockRef::from(&self.stream);
        self.now_or_later(Interest::WRITABLE, || socket.send_with_flags(bytes, libc::MSG_NOSIGNAL))
    }

    /// Ready when there is something to read, or, if that is wanted, room to write. It may be so without reason.
    pub fn poll_ready(&self, context: &mut Context<'_>, reads: bool, writes: bool) -> Poll<()> {
        let can_read = reads && self.stream.poll_read_ready(context).is_ready();
        let can_write = writes && self.stream.poll_write_ready(context).is_ready();
        if can_read || can_write { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Tries twice: tokio does not try a socket of which its reactor has not heard yet; after a stall it has not.
    fn now_or_later<T>(
        &self,
        interest: Interest,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match self.stream.try_io(interest, &mut attempt) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => attempt(),
            tried => tried,
        }
    }
}

fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Stamp>)> {
    let mut control = Control([0; CONTROL_LEN]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid value of this C struct.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN as _;
    // SAFETY: every pointer in the header points into a live buffer of this frame or the caller's, with its true length.
    let got = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let (stamp, _) = read_control(&header);
    Ok((got, stamp))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::clock;

    /// Waits until `attempt` is not told to come again.
    async fn until<T>(stream: &StampedStream, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll_fn(|context| stream.poll_ready(context, true, false)).await;
                }
                done => return done,
            }
        }
    }

    async fn opened(listener: &TcpListener, from: SocketAddr) -> (StampedStream, std::net::TcpStream) {
        let stream = StampedStream::begin(from, listener.local_addr().unwrap()).unwrap();
        while !stream.is_connected().unwrap() {
            poll_fn(|context| stream.poll_ready(context, false, true)).await;
        }
        let (peer, _) = listener.accept().unwrap();
        (stream, peer)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_with_stamps_and_the_port_is_taken_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let (stream, mut peer) = opened(&listener, any).await;
        assert_eq!(stream.send(b"ping").unwrap(), 4);
        let mut buffer = [0; 16];
        assert_eq!(peer.read(&mut buffer).unwrap(), 4);
        // The kernel begins to stamp a moment after the first socket of all has asked for it.
        let mut tries = 0..1000;
        let (before, stamp) = loop {
            tries.next().expect("a stamp");
            let before = clock::now();
            peer.write_all(b"pong").unwrap();
            let (got, stamp) = until(&stream, || stream.receive(&mut buffer)).await.unwrap();
            assert_eq!(&buffer[..got], b"pong");
            match stamp {
                Some(stamp) => break (before, stamp),
                None => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            }
        };
        assert!(stamp >= before && stamp <= clock::now());
        drop(peer);
        assert_eq!(until(&stream, || stream.receive(&mut buffer)).await.unwrap().0, 0, "the end");
        let local = stream.local_addr().unwrap();
        drop(stream);
        let (again, _peer) = opened(&listener, local).await;
        assert_eq!(again.local_addr().unwrap(), local);
    }

    #[tokio::test]
    async fn a_connection_that_is_refused_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let refused = async {
            let stream = StampedStream::begin("127.0.0.1:0".parse().unwrap(), nobody)?;
            while !stream.is_connected()? {
                poll_fn(|context| stream.poll_ready(context, false, true)).await;
            }
            Ok::<_, io::Error>(())
        };
        assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
