//! I/O of the registrations before the first call and after the last; meanwhile the calls' loop has it.

use std::net::SocketAddr;

use tokio::sync::watch;

use super::wire::Wire;
use super::{DriverConfig, Stop};
use crate::clock::Timeline;
use crate::load::{Agent, AgentOutput, Named, Names, Registrations};
use crate::sip::register::RegistrationConfig;
use crate::sip::{Heard, anywhere};
use crate::stamp::Stamp;
use crate::values::Rate;

/// The registrations that the scenario wants.
pub(super) fn wanted(
    config: &DriverConfig<'_>,
    names: &[Names],
    local: SocketAddr,
    now: Stamp,
) -> Option<Registrations> {
    // Accounts of a run with several targets do not register.
    let (names, remote) = (names.first()?, *config.targets.first()?);
    let sip = &config.scenario.sip;
    let run_id = config.run_id;
    let of = |index: usize| {
        let Named { uri, identity, credentials, user } = names.of_registration(index);
        RegistrationConfig {
            registrar: uri,
            identity,
            user,
            remote,
            local,
            transport: config.wire.transport,
            call_id: format!("reg-{run_id:08x}-{index}@{}", local.ip()),
            from_tag: format!("{run_id:08x}r{index}"),
            seed: u64::from(run_id) << 32 | index as u64,
            credentials,
            expires_s: u32::try_from(sip.register_expires.0.as_secs()).unwrap_or(u32::MAX),
            timeout: sip.setup_timeout.0,
        }
    };
    // Each account registers once, at its own shard.
    let shard = config.shard();
    let own = (0..names.registrations()).filter(|index| shard.has(*index as u32));
    let rate = Rate(sip.register_rate.0 / f64::from(shard.count));
    let has_own = shard.share(names.registrations() as u32) > 0;
    (sip.register && has_own).then(|| Registrations::new(own.map(of), rate, now))
}

/// Plays the registrations by themselves until `is_done`, or until the run is to end.
pub(super) async fn play(
    all: &mut Registrations,
    (wire, agent): (&mut Wire, &mut Agent),
    timeline: &Timeline,
    mut stop: watch::Receiver<Stop>,
    is_done: impl Fn(&Registrations, Stamp, Stop) -> bool,
) {
    loop {
        // Whatever comes, signals and timers have their turn.
        tokio::task::yield_now().await;
        let now = timeline.now();
        let (messages, read_until) = wire.receive(now, timeline.step_ns(), &mut |_, _, _| ());
        for (heard, at, from) in messages {
            match heard {
                Heard::Message(message) if all.handle_message(at, &message) => {}
                // A registrar asks with OPTIONS whether its contact is there.
                Heard::Message(message) => agent.handle_message(at, &message, from, &anywhere),
                Heard::Unreadable(unreadable) => {
                    wire.counts.garbage += u64::from(!all.handle_unreadable(&unreadable));
                }
            }
        }
        all.handle_timeout(read_until);
        wire.handle_timeout(now);
        loop {
            while let Some(broken) = wire.poll_broken() {
                all.handle_transport_error(now, &broken);
            }
            // Sending may show that there is no connection.
            let Some(datagram) = all.poll() else { break };
            wire.send(now, &datagram);
        }
        while let Some(output) = agent.poll() {
            // No call is there any more, or yet, of which anything could be told.
            if let AgentOutput::Send(datagram) = output {
                wire.send(now, &datagram);
            }
        }
        let wanted = *stop.borrow_and_update();
        if is_done(all, now, wanted) {
            return;
        }
        let timers = [all.poll_timeout(), wire.poll_timeout()];
        let wake = timers.into_iter().flatten().min().unwrap_or(now);
        tokio::select! {
            () = wire.readable() => {}
            () = tokio::time::sleep_until(timeline.tokio_deadline(wake)) => {}
            Ok(()) = stop.changed() => {}
        }
    }
}
