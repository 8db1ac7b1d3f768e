//! `[limits]`: figures of the instrument beyond which it is in doubt.

use serde::{Deserialize, Serialize};

use crate::values::{Percent, Span};

/// Limits of the instrument's own figures. Where one is broken, metrics become intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest 99th percentile of the driver's send lateness.
    pub send_lateness_p99: Span,
    /// Largest share of packets sent after their stream's next one was due.
    pub missed_slots: Percent,
    /// Most datagrams dropped by full socket buffers.
    pub socket_drops: u64,
    /// Largest share of a core that a media thread of the driver may use in any second.
    pub thread_cpu: Percent,
}
