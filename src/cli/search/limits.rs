//! Limits of a search that are known before its first trial: ports, descriptors, time, the driver's own.

use std::time::Duration;

use tokio::sync::watch;

use crate::asterisk::Ari;
use crate::cli::Failure;
use crate::driver::Stop;
use crate::rendezvous::Room;
use crate::report::capacity::LoadLimit;
use crate::run::capacity::{self, Cap, DriverLimit, driver_limit};
use crate::run::preflight::{raise_descriptors, survey};
use crate::run::together::share_of;
use crate::run::{RunPlan, Testbed};
use crate::scenario::{AsteriskMode, Load, Scenario};
use crate::search::{Conditions, Ending, Goal, Kind, Most, Search, Step, Trial};
use crate::shard::Shard;
use crate::values::{Span, counted, visible};

/// Limits of the load that are known before the first trial.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Ports and descriptors.
    pub cap: Cap,
    /// The driver's own.
    pub driver: DriverLimit,
}

/// Time that the trials of before a resumption took.
pub fn taken(trials: &[Trial]) -> Duration {
    Duration::try_from_secs_f64(trials.iter().map(|trial| trial.took_s).sum()).unwrap_or_default()
}

/// Ports and descriptors of this process.
///
/// # Errors
/// The kernel does not say how many it may have.
pub fn own_cap(plan: &RunPlan) -> Result<Cap, Failure> {
    Ok(capacity::cap(plan.scenario(), raise_descriptors()?))
}

/// The cap, once it has room for the smallest load, as the time limit has for one trial more.
///
/// # Errors
/// They have none.
pub fn fits(plan: &RunPlan, goals: &[Goal], trials: &[Trial], cap: Cap) -> Result<Cap, Failure> {
    let scenario = plan.scenario();
    let most = capacity::most(scenario, &cap);
    if let Some(smallest) =
        scenario.search.smallest().filter(|load| most.as_ref().is_none_or(|m| *load > m.load))
    {
        let (by, load) =
            most.map_or((cap.by.clone(), "nothing".into()), |most| (most.by, most.load.to_string()));
        return Err(Failure::usage(format!(
            "the smallest load of the search, {smallest}, does not fit: {by} carries {load}; raise that, or lower \
             search.min"
        )));
    }
    let unknown = DriverLimit { streams: 0, broke: None };
    let mut search =
        Search::new(&scenario.search, goals.to_vec(), capacity::conditions(scenario, &unknown, &cap));
    trials.iter().for_each(|trial| search.add(trial));
    let is_out_of_time = |step: Step| match step {
        Step::Done(answer) => answer.goals.iter().any(|goal| goal.ending == Ending::OutOfTime),
        Step::Trial { .. } => false,
    };
    match scenario.search.time_limit.filter(|_| is_out_of_time(search.next(taken(trials)))) {
        None => Ok(cap),
        Some(limit) => Err(Failure::usage(format!(
            "no further trial ends within search.time_limit = {limit}, of which {} are spent: give it more with \
             --time-limit",
            Span(Duration::from_secs(taken(trials).as_secs()))
        ))),
    }
}

/// Finds what limits the load before the first trial, and says so; `None` when the user ends it.
///
/// # Errors
/// The machine cannot drive even the smallest load, or something is taken that the calls need.
pub async fn limits(
    plan: &RunPlan,
    cap: Cap,
    interrupt: watch::Receiver<Stop>,
    said: &dyn Fn(&str),
) -> Result<Option<Limits>, Failure> {
    said(&capacity::told(plan.scenario(), &cap));
    let most = capacity::most_calls(plan.scenario(), &cap);
    let held =
        Scenario { load: Load { calls: most, ..plan.scenario().load.clone() }, ..plan.scenario().clone() };
    survey(&held)?.clear()?.iter().for_each(|warning| said(&format!("warning: {warning}")));
    plan.granted.warnings().for_each(|warning| said(&format!("warning: {warning}")));
    let driver = driver_limit(plan, most, interrupt, &mut |line| said(line)).await?;
    if let Some(driver) = &driver {
        said(&driver.told());
        drives_smallest(plan.scenario(), driver)?;
    }
    Ok(driver.map(|driver| Limits { cap, driver }))
}

/// Room of one driver of several for its share of a load; `None` when the user ends it, or the others do.
///
/// # Errors
/// Something is taken that the calls need.
pub async fn room(
    plan: &RunPlan,
    shard: Shard,
    ending: watch::Receiver<Stop>,
    said: &dyn Fn(&str),
) -> Result<Option<Room>, Failure> {
    let share = share_of(plan.scenario(), shard);
    let cap = capacity::cap(&share, raise_descriptors()?);
    let most = match plan.scenario().search.kind {
        Kind::Calls => capacity::most_calls(plan.scenario(), &Cap { calls: u32::MAX, ..cap.clone() })
            .div_ceil(shard.count),
        Kind::Rate => share.load.calls,
    };
    let most = most.min(cap.calls);
    said(&format!(
        "shard {shard}: at most {} of its own fit: {} ends first",
        counted(cap.calls.into(), "call"),
        cap.by
    ));
    let held = Scenario { load: Load { calls: most, ..share.load.clone() }, ..share };
    survey(&held)?.clear()?.iter().for_each(|warning| said(&format!("warning: {warning}")));
    plan.granted.warnings().for_each(|warning| said(&format!("warning: {warning}")));
    let driver = driver_limit(plan, most, ending, &mut |line| said(line)).await?;
    Ok(driver.map(|DriverLimit { streams, broke }| {
        said(&format!("shard {shard}: {}", DriverLimit { streams, broke: broke.clone() }.told()));
        Room { calls: cap.calls, by: cap.by, streams, broke }
    }))
}

/// The room of all drivers: calls are dealt evenly, so each carries as many as the one that carries least.
pub fn of_all(rooms: &[Room]) -> Limits {
    let count = rooms.len() as u32;
    let least = |figure: fn(&Room) -> (u32, bool)| (0..).zip(rooms).min_by_key(|(_, room)| figure(room));
    let of_all = |each: u32| each.saturating_mul(count);
    let cap = least(|room| (room.calls, false)).map(|(index, room): (u32, _)| Cap {
        calls: of_all(room.calls),
        by: format!("{} of shard {index}, the least of {count} drivers", visible(&room.by)),
    });
    let driver =
        least(|room| (room.streams, room.broke.is_none())).map(|(index, room): (u32, _)| DriverLimit {
            streams: of_all(room.streams),
            broke: room
                .broke
                .as_ref()
                .map(|why| format!("at shard {index}, the least of {count}, {}", visible(why))),
        });
    Limits {
        cap: cap.unwrap_or(Cap { calls: 0, by: "no driver".into() }),
        driver: driver.unwrap_or(DriverLimit { streams: 0, broke: None }),
    }
}

/// Says what all drivers manage together.
///
/// # Errors
/// That is less than the smallest load.
pub fn told_of_all(plan: &RunPlan, limits: &Limits, said: &dyn Fn(&str)) -> Result<(), Failure> {
    said(&format!("all drivers: {}", capacity::told(plan.scenario(), &limits.cap)));
    said(&format!("all drivers: {}", limits.driver.told()));
    drives_smallest(plan.scenario(), &limits.driver)
}

/// Refuses a search whose smallest load is more than the driver manages.
fn drives_smallest(scenario: &Scenario, driver: &DriverLimit) -> Result<(), Failure> {
    let (Some(why), Some(smallest)) = (&driver.broke, scenario.search.smallest()) else { return Ok(()) };
    let calls = match smallest.kind() {
        Kind::Calls => smallest.number(),
        Kind::Rate => scenario.load.erlang(smallest.number()),
    };
    if f64::from(driver.streams) >= calls {
        return Ok(());
    }
    let managed = counted(driver.streams.into(), "stream");
    Err(Failure::broke(format!(
        "this machine cannot drive the smallest load of the search, {smallest}: against its own echo the driver managed \
         {managed}, and with more {why}; end what else runs on it, give the driver another machine, or lower search.min"
    )))
}

/// Warns of calls of others at each Asterisk that the search has not started.
pub async fn said_of_others(plan: &RunPlan, testbed: &Testbed, said: &dyn Fn(&str)) {
    if plan.scenario().asterisk.mode == AsteriskMode::External {
        others_at(testbed.aris(), said).await;
    }
}

async fn others_at(aris: &[Ari], said: &dyn Fn(&str)) {
    for ari in aris {
        let at = if aris.len() > 1 { format!(" at {}", ari.url) } else { String::new() };
        match ari.channels().await {
            Ok(channels) if channels.is_empty() => {}
            Ok(channels) => said(&format!(
                "warning: Asterisk{at} has {} before the first trial, which are not the search's: it finds what is left \
                 beside them, and as they come and go its trials are not alike; search while nobody else calls",
                counted(channels.len() as u64, "channel")
            )),
            Err(error) => said(&format!(
                "warning: Asterisk{at} does not say whether others call it ({error}): the search finds what is left \
                 beside them"
            )),
        }
    }
}

impl Limits {
    /// The largest load that fits and that the driver manages.
    pub fn most(&self, scenario: &Scenario) -> Option<Most> {
        let Conditions { driver_most, cap, .. } = capacity::conditions(scenario, &self.driver, &self.cap);
        let driver = driver_most.map(|load| Most { load, by: "the driver against its own echo".into() });
        driver.into_iter().chain(cap).min_by_key(|most| most.load)
    }

    /// The same, for the report.
    pub fn of(&self, scenario: &Scenario) -> LoadLimit {
        let Limits { cap, driver } = self;
        let calls_of_one = match scenario.search.kind {
            Kind::Calls => 1.0,
            // Calls that do not end have no rate.
            Kind::Rate => scenario.load.erlang(1.0).max(f64::MIN_POSITIVE),
        };
        let named = scenario.search.largest().map(|load| Most { load, by: "search.max".into() });
        let most = named.into_iter().chain(self.most(scenario)).min_by_key(|most| most.load);
        LoadLimit {
            load: most.as_ref().map_or(0.0, |most| most.load.number()),
            reason: most.map_or(cap.by.clone(), |most| most.by),
            driver_load: Some(f64::from(driver.streams) / calls_of_one),
            driver_reached_it: driver.broke.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::asterisk::Account;

    #[test]
    fn all_drivers_carry_as_many_times_what_the_least_of_them_does() {
        let room = |calls, streams, broke: Option<&str>| Room {
            calls,
            by: format!("room for {calls}"),
            streams,
            broke: broke.map(String::from),
        };
        let found = of_all(&[room(40, 40, None), room(25, 25, None), room(90, 12, Some("late"))]);
        assert_eq!((found.cap.calls, found.driver.streams), (75, 36));
        assert!(found.cap.by.contains("room for 25 of shard 1"), "{}", found.cap.by);
        assert!(found.driver.broke.is_some_and(|why| why.contains("shard 2") && why.contains("late")));
        let many = vec![room(u32::MAX, u32::MAX, None); 3];
        assert_eq!(of_all(&many).cap.calls, u32::MAX, "no sum overflows");
    }

    #[tokio::test]
    async fn each_of_several_asterisks_is_asked_for_calls_of_others() {
        // Nothing listens there.
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
        let ari = |url: &str| Ari::new(url.into(), Account::random("x")).unwrap();
        let said = RefCell::new(Vec::new());
        others_at(&urls.map(ari), &|line| said.borrow_mut().push(line.to_string())).await;
        let said = said.into_inner();
        assert_eq!(said.len(), urls.len(), "{said:?}");
        for (line, url) in said.iter().zip(urls) {
            assert!(line.contains(&format!("Asterisk at {url} does not say")), "{line}");
        }
    }
}
