//! The media lanes of a run: calls dealt among them, their events as one flow, each with figures of its own.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{Sender, UnboundedReceiver, unbounded_channel};

use super::bursts::Judge;
use super::lane::{self, Lane, LaneConfig, LaneEvent, MediaPath};
use super::receiver::MediaChange;
use crate::measure::{Class, ReceivedEcho, Share, Window};
use crate::rtp::Format;
use crate::scheduling::Scheduling;
use crate::stamp::Stamp;

/// All lanes. They share nothing but the window, which none of them writes: each has its threads, commands and events.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    dealt: Dealt,
    /// Judge of what comes back on any of them, where bursts or passages are played, and its thread.
    judge: Option<(Judge, JoinHandle<()>)>,
}

/// Streams by lane.
#[derive(Debug, Default)]
struct Dealt {
    lane_of: HashMap<u32, usize>,
    /// Calls up, and control streams, by lane.
    calls: Vec<u32>,
    controls: Vec<u32>,
    /// Calls so far, by lane.
    all_calls: Vec<u32>,
}

impl Dealt {
    fn new(lanes: usize) -> Self {
        let none = vec![0; lanes];
        Dealt { lane_of: HashMap::new(), calls: none.clone(), controls: none.clone(), all_calls: none }
    }

    /// Gives a stream to the lane with the fewest: while none ends, one after another.
    fn deal(&mut self, stream: u32, class: Class) -> usize {
        let up = if class == Class::Control { &mut self.controls } else { &mut self.calls };
        let lane = (0..up.len()).min_by_key(|lane| up[*lane]).unwrap_or(0);
        up[lane] += 1;
        if class != Class::Control {
            self.lane_of.insert(stream, lane);
            self.all_calls[lane] += 1;
        }
        lane
    }

    /// Notes that a call is over.
    fn over(&mut self, call: u32) {
        if let Some(lane) = self.lane_of.remove(&call) {
            self.calls[lane] -= 1;
        }
    }
}

impl Lanes {
    /// Starts `count` lanes.
    pub fn start(
        count: u32,
        config: &LaneConfig,
        window: &Arc<Window>,
        echoes: Option<&Sender<ReceivedEcho>>,
    ) -> io::Result<(Lanes, Inbox)> {
        let (mut lanes, mut queues) = (Vec::new(), Vec::new());
        for lane in 0..count.max(1) {
            let share = Share { lane, lanes: count.max(1) };
            let streams = config.streams.div_ceil(share.lanes);
            let config = LaneConfig { share, streams, ..config.clone() };
            let (lane, events) = Lane::start(config, window.clone(), echoes.cloned())?;
            lanes.push(lane);
            queues.push(events);
        }
        let judge = config.plays.clone().map(|plays| {
            let (events, inbox) = unbounded_channel();
            queues.push(inbox);
            let (judge, work) = Judge::new(events.clone(), plays, config.rules.epoch, window.clone());
            // It may wait for the media threads.
            Ok::<_, io::Error>((judge, lane::spawn("judge", events, Scheduling::default(), work)?))
        });
        let (dealt, judge) = (Dealt::new(lanes.len()), judge.transpose()?);
        Ok((Lanes { lanes, dealt, judge }, Inbox { queues, next: 0 }))
    }

    /// Number of lanes.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// The judge of what comes back, where bursts or passages are played.
    pub fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref().map(|(judge, _)| judge)
    }

    /// Calls that each lane was given so far.
    pub fn dealt(&self) -> &[u32] {
        &self.dealt.all_calls
    }

    /// The lane of a call that has media.
    fn of(&self, call: u32) -> Option<&Lane> {
        self.lanes.get(*self.dealt.lane_of.get(&call)?)
    }

    /// Starts a stream on one of the lanes.
    pub fn start_stream(
        &mut self,
        call_id: u32,
        class: Class,
        format: Format,
        path: MediaPath,
        counts_from: Stamp,
    ) {
        let lane = self.dealt.deal(call_id, class);
        self.lanes[lane].start_stream(call_id, class, format, path, counts_from);
    }

    /// Does what a call's far end has changed in its media.
    pub fn change_call(&self, call_id: u32, change: MediaChange) {
        if let Some(lane) = self.of(call_id) {
            lane.change_call(call_id, change);
        }
    }

    /// Takes a call's media from anywhere: its far end has known since `at` that it may move them.
    pub fn reopen_call(&self, call_id: u32, at: Stamp) {
        self.of(call_id).into_iter().for_each(|lane| lane.reopen_call(call_id, at));
    }

    /// Stops a call's sending, once all that is due before `at` has been sent; answered by
    /// [`LaneEvent::Stopped`]. A call without media has nothing to stop, and is answered all the same.
    pub fn stop_call(&self, call_id: u32, at: Stamp) {
        self.of(call_id).unwrap_or(&self.lanes[0]).stop_call(call_id, at);
    }

    /// Waits for what a stopped call has still out; answered by [`LaneEvent::Finished`].
    pub fn finish_call(&self, call_id: u32, sent: u64, stopped_at: Stamp) {
        self.of(call_id).into_iter().for_each(|lane| lane.finish_call(call_id, sent, stopped_at));
    }

    /// Notes that a call's media are over.
    pub fn over(&mut self, call_id: u32) {
        self.dealt.over(call_id);
    }

    /// Ends all threads; their last events come before this returns.
    pub fn shut_down(&mut self) {
        self.lanes.iter().for_each(Lane::tell_to_end);
        self.lanes.iter_mut().for_each(Lane::shut_down);
        // It ends once no call and no copy of it is left.
        if let Some((judge, thread)) = self.judge.take() {
            drop(judge);
            // A panic has been told by `LaneEvent::Died`.
            let _ = thread.join();
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Events of all lanes, each with the number of its lane; the judge's have the number behind the last lane's.
pub(super) struct Inbox {
    queues: Vec<UnboundedReceiver<LaneEvent>>,
    /// The queue that is looked at first: none waits behind a full one.
    next: usize,
}

impl Inbox {
    /// Takes up to `most` events, and waits while there is none; returns their number, 0 once all lanes have ended.
    pub async fn recv_many(&mut self, into: &mut Vec<(usize, LaneEvent)>, most: usize) -> usize {
        let Inbox { queues, next } = self;
        poll_fn(|context| {
            let (before, count) = (into.len(), queues.len());
            let mut has_ended = true;
            for lane in (0..count).map(|n| (*next + n) % count) {
                while into.len() - before < most {
                    match queues[lane].poll_recv(context) {
                        Poll::Ready(Some(event)) => into.push((lane, event)),
                        Poll::Ready(None) => break,
                        Poll::Pending => {
                            has_ended = false;
                            break;
                        }
                    }
                }
            }
            *next = (*next + 1) % count.max(1);
            let taken = into.len() - before;
            if taken > 0 || has_ended { Poll::Ready(taken) } else { Poll::Pending }
        })
        .await
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<(usize, LaneEvent)> {
        self.queues.iter_mut().enumerate().find_map(|(lane, queue)| Some((lane, queue.try_recv().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timeline;
    use crate::driver::bursts;
    use crate::driver::repertoire::Repertoire;
    use crate::measure::Rules;
    use crate::rtp::Codec;
    use crate::rtp::packet::StreamSender;
    use crate::rtp::probe::RunKey;
    use crate::scenario::Impair;
    use std::time::Duration;

    #[test]
    fn calls_go_round_the_lanes_and_then_where_room_was_made() {
        let mut dealt = Dealt::new(3);
        // Streams beside the calls do not shift them.
        assert_eq!(dealt.deal(u32::MAX, Class::Control), 0);
        let lanes: Vec<_> = (0..6).map(|call| dealt.deal(call, Class::Call)).collect();
        assert_eq!(lanes, [0, 1, 2, 0, 1, 2]);
        assert_eq!(dealt.deal(u32::MAX - 1, Class::Control), 1);
        dealt.over(2);
        dealt.over(2);
        dealt.over(u32::MAX);
        assert_eq!((dealt.deal(6, Class::Talk), dealt.deal(7, Class::Talk)), (2, 0));
        assert_eq!((dealt.calls, dealt.all_calls), (vec![3, 2, 2], vec![3, 2, 3]));
    }

    #[test]
    fn no_lane_waits_behind_a_full_one_and_nothing_is_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (senders, queues): (Vec<_>, Vec<_>) = (0..3).map(|_| unbounded_channel()).unzip();
        let mut inbox = Inbox { queues, next: 0 };
        (0..100).for_each(|_| senders[0].send(LaneEvent::Died("pacer")).unwrap());
        senders[2].send(LaneEvent::Died("receiver")).unwrap();
        let mut events = Vec::new();
        let taken: Vec<_> = (0..3).map(|_| runtime.block_on(inbox.recv_many(&mut events, 10))).collect();
        assert_eq!(taken, [10; 3]);
        assert!(events.iter().any(|(lane, _)| *lane == 2), "its turn came first");
        drop(senders);
        while runtime.block_on(inbox.recv_many(&mut events, 10)) > 0 {}
        assert_eq!(events.len(), 101);
        assert!(inbox.try_recv().is_none());
    }

    #[test]
    fn one_judge_serves_the_calls_of_all_lanes_and_ends_behind_them() {
        let (timeline, second) = (Timeline::start(), Duration::from_secs(1));
        let rules = Rules {
            key: RunKey::new(1, [1; 16]),
            epoch: timeline.now(),
            ptime: second / 50,
            late_after: second,
            lost_after: 2 * second,
            shared_clock: true,
        };
        let config = LaneConfig {
            rules,
            spread: true,
            share: Share::default(),
            timeline,
            impair: Impair::default(),
            scheduling: Scheduling::default(),
            streams: 2,
            dead_after: Duration::ZERO,
            plays: Some(Repertoire::Bursts(second)),
        };
        let (mut lanes, mut inbox) = Lanes::start(2, &config, &Arc::default(), None).unwrap();
        let format = Format::of(Codec::Pcmu, rules.ptime);
        for call in 0..2 {
            let judge = lanes.judge().expect("bursts are played").clone();
            let (mut player, hearer) = bursts::pair(judge, call, &format, second).unwrap();
            let mut sender = StreamSender::new(rules.key, call, call, format);
            for n in 0..150 {
                player.packet(&mut sender, rules.epoch + rules.ptime * n);
            }
            hearer.finish(rules.epoch + 9 * second);
        }
        lanes.shut_down();
        let events: Vec<_> = std::iter::from_fn(|| inbox.try_recv()).collect();
        let judged = |call| {
            let of = |event: &LaneEvent| matches!(event, LaneEvent::Judged(burst) if burst.call == call);
            events.iter().filter(|(lane, event)| *lane == 2 && of(event)).count()
        };
        assert!(judged(0) > 1 && judged(1) > 1, "{events:?}");
        assert!(matches!(events.last(), Some((2, LaneEvent::Died("judge")))), "{events:?}");
        assert!(lanes.judge().is_none());
    }
}
