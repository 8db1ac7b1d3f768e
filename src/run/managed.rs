//! The Asterisk that a run starts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::RunError;
use super::application;
use super::plan::RunPlan;
use crate::asterisk::config::Secret;
use crate::asterisk::{Managed, SearchPlaces, StartConfig, find};
use crate::scenario::ServiceMode;

/// Starts it as the scenario wants it.
///
/// # Errors
/// None that can be used is found, or it does not start.
pub(super) async fn start_asterisk(
    plan: &RunPlan,
    logs: &Path,
    is_ending: &Arc<AtomicBool>,
) -> Result<Managed, RunError> {
    let scenario = plan.scenario();
    let install = find::find(&SearchPlaces::from_environment(None))?;
    let mut config = StartConfig::new(install, logs);
    config.scheduling = plan.granted.asterisk.scheduling.clone();
    config.is_ending = Arc::clone(is_ending);
    (config.address, config.transport) = (scenario.sip.loopback(), scenario.asterisk.transport);
    config.ports.rtp = scenario.asterisk.rtp_ports.from..=scenario.asterisk.rtp_ports.to;
    config.keep_clear = [scenario.media.ports, scenario.service.ports].map(|r| r.from..=r.to).into();
    config.app.clone_from(&scenario.service.app);
    config.ports.http = scenario.asterisk.ari_port.unwrap_or(0);
    config.srtp = scenario.media.srtp;
    config.media = scenario.service.media;
    let callers = scenario.media.codec;
    if let Some(codec) = scenario.service.codec.filter(|codec| *codec != callers) {
        config.transcodes = vec![callers, codec];
    }
    (config.bridge, config.jitter_buffer) = (scenario.asterisk.bridge, scenario.asterisk.jitter_buffer);
    if scenario.service.mode == ServiceMode::External {
        config.ari = application::account()?;
    }
    if let Some(credentials) = &plan.credentials {
        config.digest.user.clone_from(&credentials.username);
        config.digest.password = Secret::new(credentials.password.clone());
    }
    config.accounts = plan.logins();
    Ok(Managed::start(config).await?)
}
