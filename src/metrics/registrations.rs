//! The table's rows of registrations.

use std::sync::LazyLock;

use Group::{Calls, SetUp};
use Unit::{Count, Ratio};

use super::counts::record;
use super::facts::{number, ratio};
use super::latencies::row;
use super::metric::{Definition, Group, Samples, Statistic};
use crate::values::Unit;

#[rustfmt::skip]
pub(super) static REGISTRATIONS: [Definition; 5] = [
    record(Calls, "register.attempts", Count, "registrations that were asked for, one per account",
        |f| f.registered(|r| number(r.attempts))).by_stage(false),
    record(Calls, "register.ok_ratio", Ratio, "registrations granted, of those asked for",
        |f| f.registered(|r| ratio(r.registered, r.attempts))).by_stage(false)
        .larger_is_better(),
    record(Calls, "register.failed_count", Count, "registrations refused, or not answered in time",
        |f| f.registered(|r| number(r.failed))).by_stage(false),
    record(Calls, "register.refreshed_count", Count, "times that a registration was made fresh",
        |f| f.registered(|r| number(r.refreshed))).by_stage(false)
        .larger_is_better(),
    record(Calls, "register.refresh_failed_count", Count, "times that this failed",
        |f| f.registered(|r| number(r.refresh_failed))).by_stage(false),
];

/// Statistics of the time that a registration took.
pub(super) static REGISTER_TIMES: LazyLock<[Definition; 4]> = LazyLock::new(|| {
    let help = "first REGISTER to its 200, challenges included";
    [Statistic::P50, Statistic::P95, Statistic::P99, Statistic::Max].map(|statistic| {
        let name = format!("register.time.{}", statistic.key());
        row(SetUp, name, help, statistic, Samples::Register(|record| &record.time))
    })
});
