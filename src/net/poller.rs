//! Waits for any of many sockets, or for a nudge from another thread.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

const WAKE: u64 = u64::MAX;
/// Most sockets that one wait names: where there are as many, others may be ready too.
pub const EVENTS: usize = 256;

/// Readiness by epoll(7): a socket is named again as long as it has something to read, unless it is watched by its edges.
pub struct Poller {
    epoll: Epoll,
    events: Box<[EpollEvent; EVENTS]>,
    waker: Waker,
}

/// Wakes a [`Poller`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// Makes the poller's current or next wait return.
    pub fn wake(&self) {
        // A full counter means that a wake is pending already.
        let _ = self.0.write(1);
    }
}

impl Poller {
    /// A poller without sockets.
    ///
    /// # Errors
    /// Errors of epoll_create(2) and eventfd(2), for want of descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        epoll.add(&event, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let events = Box::new([EpollEvent::empty(); EVENTS]);
        Ok(Poller { epoll, events, waker: Waker(Arc::new(event)) })
    }

    /// A handle that wakes this poller.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches `socket`; [`Poller::wait`] names it by `token`, which may be anything but `u64::MAX`.
    ///
    /// # Errors
    /// Errors of epoll_ctl(2).
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// The same, but the socket is named only when something comes to it: whoever does not read all that is there has to
    /// come back by himself. The kernel looks at it half as often.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_by_edges(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token))?)
    }

    /// Stops watching `socket`.
    ///
    /// # Errors
    /// Errors of epoll_ctl(2).
    pub fn remove(&self, socket: &impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(socket)?)
    }

    /// Waits up to `timeout_ms` and hands the token of each readable socket to `each`.
    ///
    /// # Errors
    /// Errors of epoll_wait(2); an interruption counts as a wait without events.
    pub fn wait(&mut self, timeout_ms: u16, mut each: impl FnMut(u64)) -> io::Result<()> {
        let got = match self.epoll.wait(&mut self.events[..], EpollTimeout::from(timeout_ms)) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &self.events[..got] {
            match event.data() {
                WAKE => drop(self.waker.0.read()),
                token => each(token),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::udp;
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    #[test]
    fn names_the_readable_socket_and_wakes() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (a, b) = (udp::bind_stamped(any, 4096).unwrap(), udp::bind_stamped(any, 4096).unwrap());
        let mut poller = Poller::new().unwrap();
        poller.add(&a, 1).unwrap();
        poller.add(&b, 2).unwrap();
        a.send_to(b"x", b.local_addr().unwrap()).unwrap();
        let mut ready = Vec::new();
        poller.wait(5000, |t| ready.push(t)).unwrap();
        assert_eq!(ready, [2]);
        poller.remove(&b).unwrap();
        poller.waker().wake();
        ready.clear();
        poller.wait(60_000, |t| ready.push(t)).unwrap();
        assert!(ready.is_empty());
    }

    #[test]
    fn by_its_edges_a_socket_is_named_once_for_each_time_that_something_comes() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (a, b) = (udp::bind_stamped(any, 4096).unwrap(), udp::bind_stamped(any, 4096).unwrap());
        let send = || a.send_to(b"x", b.local_addr().unwrap()).unwrap();
        let mut poller = Poller::new().unwrap();
        let named = |poller: &mut Poller, wake: bool| {
            let mut ready = Vec::new();
            if wake {
                poller.waker().wake();
            }
            poller.wait(5000, |token| ready.push(token)).unwrap();
            ready
        };
        send();
        poller.add_by_edges(&b, 7).unwrap();
        assert_eq!(named(&mut poller, false), [7], "what was there before counts");
        assert!(named(&mut poller, true).is_empty(), "it has not been read, and nothing has come");
        send();
        assert_eq!(named(&mut poller, false), [7]);
    }
}
