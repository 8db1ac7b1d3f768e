//! Load control without I/O: the times at which calls are placed, hung up and closed.
//!
//! [`Control`] decides by call numbers and events; [`Agent`] speaks SIP for all calls. Both take inputs
//! with the time, and are then drained with `poll`. Whoever owns the sockets joins them: outputs of the
//! one that concern SIP are commands to the other, and call events go back.
//!
//! Work per input grows with the logarithm of the calls: everything that waits for a time stands in
//! `table::Deadlines`. Only a change of phase walks over all calls.

mod agent;
mod arrivals;
mod attempt;
mod calls;
mod control;
mod lines;
mod names;
mod registration;

pub use agent::{Agent, AgentOutput, CallSignal};
pub use control::Control;
pub use lines::Slot;
pub use names::{Named, Names};
pub use registration::Registrations;

use crate::record::{CallRecord, Suppression};
use crate::sip::sdp::Answer;
use crate::stamp::Stamp;

/// Timers handled at a time, so that no burst keeps the owner from reading its sockets.
const BATCH: usize = 64;

/// Urgency with which a run is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Hang up the calls one after another, as at a planned end.
    Early,
    /// Hang up all calls and end.
    Soon,
    /// End without waiting for anybody.
    Now,
}

/// Inputs of [`Control`]. Calls go by the number of the attempt.
#[derive(Debug)]
pub enum Input {
    /// Answers [`Output::Open`]: the port is bound.
    Opened {
        /// Of the [`Output::Open`].
        slot: Slot,
        /// Bound RTP port.
        port: u16,
    },
    /// Answers [`Output::Open`]: there is no port for the call.
    Suppressed(Slot),
    /// An event of a call's signalling.
    Signal(CallSignal),
    /// A call that was heard has not been heard for `dead_after`.
    Dead {
        /// Number of the call.
        call: u32,
        /// Time at which it was given up.
        at: Stamp,
    },
    /// Answers [`Output::StopMedia`].
    MediaOver(u32),
    /// The lines of all shards are decided: the ramp of stage number `stage`, from 1, ends at this time.
    RampOver {
        /// Number of the stage.
        stage: u32,
        /// The end of its ramp.
        at: Stamp,
    },
    /// The run is to end early.
    Stop(Stop),
}

/// Outputs of [`Control`], to be carried out in this order.
#[derive(Debug)]
pub enum Output {
    /// Bind an RTP port; answered at once by [`Input::Opened`] or [`Input::Suppressed`].
    Open(Slot),
    /// Place the call ([`Agent::place`]). Numbers come without gaps, from 0; a shard's have the other shards' between them.
    Invite {
        /// Number of the call.
        call: u32,
        /// Number of its line.
        line: u32,
        /// Its RTP port.
        port: u16,
    },
    /// Hang up, or cancel ([`Agent::hang_up`]).
    HangUp(u32),
    /// Send and receive media, unless they are on hold: the call was answered at `at`.
    StartMedia {
        /// Number of the call.
        call: u32,
        /// Receipt of the 200.
        at: Stamp,
        /// The far end's media.
        answer: Answer,
    },
    /// Send the media elsewhere from now on, or not at all while they are on hold.
    ChangeMedia {
        /// Number of the call.
        call: u32,
        /// Receipt of the far end's wish.
        at: Stamp,
        /// The far end's media.
        answer: Answer,
    },
    /// Take the media from anywhere: the far end is about to say where it sends from.
    ReopenMedia {
        /// Number of the call.
        call: u32,
        /// Receipt of the far end's wish.
        at: Stamp,
    },
    /// Stop sending, and wait until all packets are back or lost; answered by [`Input::MediaOver`].
    StopMedia(u32),
    /// The measured window: its first moment, and the first after it. Known ahead of its start.
    Window {
        /// Its first moment.
        from: Stamp,
        /// The first moment after it.
        to: Stamp,
    },
    /// The measured window ends at this time at the latest.
    Cut(Stamp),
    /// An event to be counted.
    Count {
        /// The event.
        what: Count,
        /// Its time, which decides the second.
        at: Stamp,
    },
    /// An attempt is over, and its port is free: its record but for the media's figures. Comes once for
    /// each [`Output::Invite`].
    Closed(Box<CallRecord>),
}

/// Events that are counted, by second and for the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// A call was placed.
    Attempted,
    /// It was answered.
    Answered,
    /// It did not come up.
    Failed,
    /// A call that was up has ended.
    Ended,
    /// Likewise, by the far end and before its time.
    Dropped,
    /// Likewise, given up because nothing was heard any more.
    MediaLost,
    /// An attempt was due that is not placed.
    Suppressed(Suppression),
}

#[cfg(test)]
mod far_end;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod shard_tests;
#[cfg(test)]
mod stage_tests;
#[cfg(test)]
mod tests;
