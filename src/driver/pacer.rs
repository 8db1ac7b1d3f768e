//! The pacer thread: walks the slot wheel, stamps and sends. It never locks, logs or waits for others.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::lane::LaneEvent;
use crate::clock::{self, Timeline};
use crate::measure::{Rules, SendTally, StreamSent, Wheel, Window};
use crate::net::udp::StampedSocket;
use crate::rtp::packet::StreamSender;
use crate::stamp::Stamp;

/// One wake-up per slot, not per packet: waking costs several times what sending does.
pub(super) const SLOT: Duration = Duration::from_millis(1);

/// The end of a wait that is spun instead of slept. A sleep wakes some 40 µs late, which the send
/// lateness shows; spinning longer would cost more CPU than sending.
const SPIN: Duration = Duration::from_micros(5);

/// One call's outgoing stream.
pub(super) struct PacedStream {
    pub call_id: u32,
    pub socket: Arc<StampedSocket>,
    pub sender: StreamSender,
    /// From when on the call's packets count.
    pub counts_from: Stamp,
    pub sent: StreamSent,
}

pub(super) enum PacerCommand {
    Start(Box<PacedStream>),
    Stop(u32),
    Shutdown,
}

pub(super) struct Pacer {
    pub rules: Rules,
    pub spread: bool,
    pub window: Arc<Window>,
    pub commands: Receiver<PacerCommand>,
    pub events: UnboundedSender<LaneEvent>,
    pub timeline: Timeline,
}

impl Pacer {
    /// Runs until told to shut down.
    pub fn run(self) {
        // Without this the kernel may wake the thread 50 µs later than asked.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut wheel = Wheel::new(self.rules.ptime, SLOT, self.timeline.now(), self.spread);
        let mut tally = SendTally::new(self.rules);
        let mut cpu = clock::thread_cpu();
        while self.obey(&mut wheel) {
            let due = wheel.due();
            self.timeline.sleep_until(due, SPIN);
            let behind = self.timeline.now().since(due);
            if behind > self.rules.lost_after {
                tally.skipped(wheel.skip_to(self.timeline.now()), due, &self.window);
                continue;
            }
            if let Some(row) = tally.turn(due) {
                let used = clock::thread_cpu();
                let _ = self.events.send(LaneEvent::Sent { row, cpu: used.saturating_sub(cpu) });
                cpu = used;
            }
            for stream in wheel.advance() {
                self.send(stream, due, &mut tally);
            }
        }
        for stream in wheel.drain() {
            let (call_id, at) = (stream.call_id, self.timeline.now());
            let _ = self.events.send(LaneEvent::Stopped { call_id, sent: stream.sent, at });
        }
        let (row, lateness, send_call) = tally.finish();
        let _ = self.events.send(LaneEvent::Sent { row, cpu: clock::thread_cpu().saturating_sub(cpu) });
        let _ = self.events.send(LaneEvent::PacerDone { lateness, send_call });
    }

    fn send(&self, stream: &mut PacedStream, due: Stamp, tally: &mut SendTally) {
        let sent_at = clock::now();
        let packet = stream.sender.packet(due, sent_at);
        if stream.socket.send(packet).is_err() {
            // Not an error of the run: the packet is lost, and counted as such. A closed far port
            // shows up here as ConnectionRefused.
            stream.sent.refused += 1;
        }
        let took = clock::now().since(sent_at);
        tally.sent(&mut stream.sent, due, sent_at, took, &self.window, stream.counts_from);
    }

    /// Takes the commands that wait, and sleeps until one comes while there is nothing to send.
    /// Returns false when it is time to end.
    fn obey(&self, wheel: &mut Wheel<Box<PacedStream>>) -> bool {
        loop {
            let idle = wheel.is_empty();
            let command = match self.commands.try_recv() {
                Err(TryRecvError::Empty) if idle => match self.commands.recv() {
                    Ok(command) => {
                        wheel.skip_to(self.timeline.now() + SLOT);
                        command
                    }
                    Err(_) => return false,
                },
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
                Ok(command) => command,
            };
            match command {
                PacerCommand::Start(stream) => wheel.add(stream),
                PacerCommand::Stop(call_id) => {
                    let sent = wheel.remove(|s| s.call_id == call_id).map(|s| s.sent).unwrap_or_default();
                    let at = self.timeline.now();
                    let _ = self.events.send(LaneEvent::Stopped { call_id, sent, at });
                }
                PacerCommand::Shutdown => return false,
            }
        }
    }
}
