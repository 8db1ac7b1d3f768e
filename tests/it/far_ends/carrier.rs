//! Wire of a far end: datagrams on one socket, or connections that callers open.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use loadtest::sip::Transport;
use loadtest::sip::framing::{Frame, Framer};

use super::{LOCAL, TICK};

/// Address of a far end, as it stands in its Contact.
#[derive(Clone, Copy)]
pub struct Here {
    pub address: SocketAddr,
    pub transport: Transport,
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, self.transport.uri_param())
    }
}

pub enum Carrier {
    Datagrams(UdpSocket),
    Streams(TcpListener, Vec<Caller>),
}

/// A caller's connection.
pub struct Caller {
    peer: SocketAddr,
    stream: TcpStream,
    framer: Framer,
}

impl Carrier {
    pub fn datagrams(local: &str) -> Self {
        let socket = UdpSocket::bind(local).expect("a port");
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        Carrier::Datagrams(socket)
    }

    pub fn streams() -> Self {
        let listener = TcpListener::bind(LOCAL).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        Carrier::Streams(listener, Vec::new())
    }

    pub fn here(&self) -> Here {
        let (address, transport) = match self {
            Carrier::Datagrams(socket) => (socket.local_addr(), Transport::Udp),
            Carrier::Streams(listener, _) => (listener.local_addr(), Transport::Tcp),
        };
        Here { address: address.expect("an address"), transport }
    }

    /// Waits for a tick at most; messages that have come, each with its source.
    pub fn receive(&mut self) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut messages = Vec::new();
        match self {
            Carrier::Datagrams(socket) => {
                let mut buffer = [0; 65_535];
                match socket.recv_from(&mut buffer) {
                    Ok((len, source)) => messages.push((buffer[..len].to_vec(), source)),
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                        ),
                        "{error}"
                    ),
                }
            }
            Carrier::Streams(listener, callers) => {
                while let Ok((stream, peer)) = listener.accept() {
                    stream.set_nonblocking(true).expect("a stream");
                    callers.retain(|caller| caller.peer != peer);
                    callers.push(Caller { peer, stream, framer: Framer::default() });
                }
                callers.retain_mut(|caller| caller.read(&mut messages));
                if messages.is_empty() {
                    thread::park_timeout(TICK);
                }
            }
        }
        messages
    }

    /// Sends a message to a caller. Nobody may be there any more.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) {
        match self {
            Carrier::Datagrams(socket) => drop(socket.send_to(bytes, to)),
            Carrier::Streams(_, callers) => {
                if let Some(caller) = callers.iter().find(|caller| caller.peer == to) {
                    let _ = (&caller.stream).write_all(bytes);
                }
            }
        }
    }

    /// Ends a caller's connection.
    pub fn close(&mut self, peer: SocketAddr) {
        if let Carrier::Streams(_, callers) = self {
            callers.retain(|caller| caller.peer != peer);
        }
    }
}

impl Caller {
    /// Reads what has come; false once the caller has ended the connection.
    fn read(&mut self, messages: &mut Vec<(Vec<u8>, SocketAddr)>) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(len) => self.framer.push(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // It had not read everything.
                Err(_) => return false,
            }
            while let Some(frame) = self.framer.next_frame().expect("the driver frames its messages") {
                if let Frame::Message(bytes) = frame {
                    messages.push((bytes, self.peer));
                }
            }
        }
    }
}
