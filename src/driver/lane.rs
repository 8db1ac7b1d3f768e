//! A media lane: one pacer thread, one receiver thread, and the way to both.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::pacer::{PacedStream, Pacer, PacerCommand};
use super::receiver::{ReceiverCommand, Receiving};
use crate::clock::Timeline;
use crate::measure::{ReceivedSecond, Rules, SentSecond, StreamReceiver, StreamReport, StreamSent, Window};
use crate::net::poller::{Poller, Waker};
use crate::net::udp::StampedSocket;
use crate::rtp::packet::StreamSender;
use crate::samples::{Latencies, Series};
use crate::stamp::Stamp;

/// What the media threads tell.
#[derive(Debug)]
pub(super) enum LaneEvent {
    /// A second's sending is over, and took the pacer this much CPU.
    Sent { row: SentSecond, cpu: Duration },
    /// Nothing can come back any more of what was sent in a second.
    Received(ReceivedSecond),
    /// What the receiver thread saw and used during a second.
    ReceiverSecond { second: u32, drops: u64, corrupted: u64, cpu: Duration },
    /// A call's stream has been stopped.
    Stopped { call_id: u32, sent: StreamSent, at: Stamp },
    /// A call's packets are all back, or lost.
    Finished { call_id: u32, report: Box<StreamReport> },
    /// A thread has ended without being told to.
    Died(&'static str),
    /// The pacer has ended.
    PacerDone { lateness: Latencies, send_call: Latencies },
    /// The receiver has ended.
    ReceiverDone { histograms: Box<[Latencies; Series::ALL.len()]>, negative_rtt: u64 },
}

/// The two threads.
pub(super) struct Lane {
    rules: Rules,
    to_pacer: Sender<PacerCommand>,
    to_receiver: Sender<ReceiverCommand>,
    waker: Waker,
    threads: Vec<JoinHandle<()>>,
}

impl Lane {
    /// Starts both threads.
    pub fn start(
        rules: Rules,
        spread: bool,
        window: Arc<Window>,
        timeline: Timeline,
    ) -> io::Result<(Lane, UnboundedReceiver<LaneEvent>)> {
        let (events, inbox) = unbounded_channel();
        let (to_pacer, commands) = channel();
        let pacer =
            Pacer { rules, spread, window: window.clone(), commands, events: events.clone(), timeline };
        let (to_receiver, commands) = channel();
        let receiving = Receiving { rules, window, commands, events: events.clone(), timeline };
        let poller = Poller::new()?;
        let waker = poller.waker();
        let threads = vec![
            spawn("pacer", events.clone(), move || pacer.run())?,
            spawn("receiver", events, move || receiving.run(poller))?,
        ];
        Ok((Lane { rules, to_pacer, to_receiver, waker, threads }, inbox))
    }

    /// Starts a call's media: first the ears, then the mouth.
    pub fn start_call(
        &self,
        sender: StreamSender,
        call_id: u32,
        socket: Arc<StampedSocket>,
        counts_from: Stamp,
    ) {
        let stream = Box::new(StreamReceiver::new(self.rules, call_id, counts_from));
        self.tell_receiver(ReceiverCommand::Add { stream, socket: socket.clone() });
        let paced = PacedStream { call_id, socket, sender, counts_from, sent: StreamSent::default() };
        let _ = self.to_pacer.send(PacerCommand::Start(Box::new(paced)));
    }

    /// Stops a call's sending; answered by [`LaneEvent::Stopped`].
    pub fn stop_call(&self, call_id: u32) {
        let _ = self.to_pacer.send(PacerCommand::Stop(call_id));
    }

    /// Waits for what a stopped call has still out; answered by [`LaneEvent::Finished`].
    pub fn finish_call(&self, call_id: u32, sent: u64, stopped_at: Stamp) {
        self.tell_receiver(ReceiverCommand::Finish { call_id, sent, stopped_at });
    }

    /// Ends both threads; their last events come before this returns.
    pub fn shut_down(&mut self) {
        let _ = self.to_pacer.send(PacerCommand::Shutdown);
        self.tell_receiver(ReceiverCommand::Shutdown);
        for thread in self.threads.drain(..) {
            // A panic has been told by `LaneEvent::Died`.
            let _ = thread.join();
        }
    }

    fn tell_receiver(&self, command: ReceiverCommand) {
        let _ = self.to_receiver.send(command);
        self.waker.wake();
    }
}

/// Starts a thread that tells when it ends: [`LaneEvent::Died`], unless its own last event came first.
fn spawn(
    name: &'static str,
    events: UnboundedSender<LaneEvent>,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    struct Obituary(&'static str, UnboundedSender<LaneEvent>);
    impl Drop for Obituary {
        fn drop(&mut self) {
            let _ = self.1.send(LaneEvent::Died(self.0));
        }
    }
    let obituary = Obituary(name, events);
    thread::Builder::new().name(name.into()).spawn(move || {
        let _told_whatever_happens = obituary;
        run();
    })
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shut_down();
    }
}
