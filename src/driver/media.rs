//! The media of one call while it lasts, and its figures once it is over.

use std::sync::Arc;

use crate::measure::{StreamReport, StreamSent};
use crate::net::udp::StampedSocket;
use crate::record::CallRecord;
use crate::stamp::Stamp;

pub(super) struct CallMedia {
    pub socket: Arc<StampedSocket>,
    /// Time of the call's answer.
    pub started_at: Stamp,
    /// Datagrams of others that had come before that.
    pub strangers: u64,
    pub sent: StreamSent,
    /// Counts and times of what came back, once everything is back or lost.
    pub report: Option<Box<StreamReport>>,
}

impl CallMedia {
    /// Media that is not started yet.
    pub fn new(socket: Arc<StampedSocket>) -> Self {
        CallMedia { socket, started_at: Stamp::ZERO, strangers: 0, sent: StreamSent::default(), report: None }
    }

    /// Enters the figures into the call's record.
    pub fn enter(&self, epoch: Stamp, record: &mut CallRecord) {
        if let Some(report) = &self.report {
            report.enter(&self.sent, record);
            record.last_echo_s = report.last_echo_at.map(|at| at.since(epoch).as_secs_f64());
            record.first_echo_ms = report.first_echo_at.map(|at| at.since(self.started_at).into());
        }
        record.strangers += self.strangers;
    }
}
