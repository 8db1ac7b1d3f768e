//! A coordinator's tasks for shards that make run after run, and their word of what their machines carry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::cut;

/// Largest load that a search tries; what is larger is no load of this program's.
const MOST_LOAD: f64 = 1e7;
/// Longest run: beyond the longest soak.
const LONGEST_NS: u64 = 8 * 24 * 3600 * 1_000_000_000;
/// Most goals that a search has.
const MOST_GOALS: u32 = 1000;

/// The command that shards meet for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// One run.
    #[default]
    Run,
    /// The trials of a search.
    Search,
    /// The runs of two sides.
    Ab,
}

impl Purpose {
    /// The subcommand.
    pub fn command(self) -> &'static str {
        match self {
            Purpose::Run => "run",
            Purpose::Search => "search",
            Purpose::Ab => "ab",
        }
    }

    /// True where run follows run until the coordinator has its answer.
    pub fn has_rounds(self) -> bool {
        self != Purpose::Run
    }
}

/// One of many runs, as the coordinator has chosen it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// A run of a search.
    Trial {
        /// Calls, or attempts a second, of all shards together.
        load: f64,
        /// Length of the hold.
        hold_ns: u64,
        /// Time after which a gate that is broken beyond hope ends it; `None` for a run that no gate ends.
        enough_ns: Option<u64>,
        /// Number of the goal that alone counts, for a run after the search.
        goal: Option<u32>,
    },
    /// A run of a comparison.
    Side {
        /// True for the side that is judged.
        is_new: bool,
    },
}

impl Task {
    /// True if a coordinator of that purpose may send it.
    pub(super) fn is_sound(&self, purpose: Purpose) -> bool {
        match self {
            Task::Trial { load, hold_ns, enough_ns, goal } => {
                let is_time = |ns: &u64| (1..=LONGEST_NS).contains(ns);
                purpose == Purpose::Search
                    && load.is_finite()
                    && *load > 0.0
                    && *load <= MOST_LOAD
                    && is_time(hold_ns)
                    && enough_ns.as_ref().is_none_or(|ns| *ns <= LONGEST_NS)
                    && goal.is_none_or(|goal| goal < MOST_GOALS)
            }
            Task::Side { .. } => purpose == Purpose::Ab,
        }
    }

    /// A time as a task has it.
    pub fn ns(time: Duration) -> u64 {
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One shard's room for load, of its own share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Room {
    /// Calls that its ports and descriptors carry.
    pub calls: u32,
    /// The resource that ends first, in words.
    pub by: String,
    /// Streams that its driver manages against its own echo.
    pub streams: u32,
    /// The limit that more of them broke, in words; `None` where all that were asked for were managed.
    pub broke: Option<String>,
}

impl Room {
    /// The same with texts that act on no terminal and are no longer than a sentence.
    pub(super) fn tidy(self) -> Room {
        Room { by: cut(&self.by), broke: self.broke.map(|why| cut(&why)), ..self }
    }
}
