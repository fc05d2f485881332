//! How far guests are: what their followers see, in the API's words.

use std::net::IpAddr;

use lodge_api::{Address, AddressFamily, InterfaceAddresses, Phase, PhaseTime, Readiness, ReadinessFailure};
use lodge_domain::Handle;
use lodge_guest::readiness as guest;

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// How far the guest in a domain is.
    #[crate::boxed]
    pub async fn readiness(&self, _caller: &Caller, dom: &str) -> Result<Readiness> {
        Ok(self.readiness_of(&self.find_domain(dom)?).await)
    }

    pub(crate) async fn readiness_of(&self, handle: &Handle) -> Readiness {
        let Some(watching) = self.followers.watch(handle.id()) else { return Readiness::default() };
        let seen = watching.borrow().clone();
        let interfaces = self.leased(handle).await.unwrap_or_default();
        let interfaces = if interfaces.is_empty() { unnamed(&seen.addresses) } else { interfaces };
        let accelerator = crate::view::domain(&handle.snapshot()).accelerator;
        Readiness {
            phase: phase(seen.phase),
            since_ms: seen.since_ms,
            message: seen.message,
            failure: seen.failure.map(|failure| ReadinessFailure {
                module: failure.module,
                log_line: failure.log_line,
                message: failure.reason,
                hint: failure.hint,
            }),
            timeline: seen.timeline.into_iter().map(phase_time).collect(),
            interfaces,
            hostname: seen.hostname,
            accelerator,
            speed: Some(lodge_api::SpeedView { factor: seen.speed }),
            deadline_ms: seen.deadline_ms,
        }
    }
}

pub(crate) fn phase(phase: guest::Phase) -> Phase {
    match phase {
        guest::Phase::Stopped => Phase::Stopped,
        guest::Phase::Booting => Phase::Booting,
        guest::Phase::Address => Phase::Address,
        guest::Phase::Agent => Phase::Agent,
        guest::Phase::CloudInit => Phase::CloudInit,
        guest::Phase::Ready => Phase::Ready,
        guest::Phase::Failed => Phase::Failed,
    }
}

fn phase_time(milestone: guest::Milestone) -> PhaseTime {
    PhaseTime {
        phase: phase(milestone.phase),
        entered_ms: milestone.entered_ms,
        duration_ms: milestone.duration_ms,
    }
}

/// Addresses that are known without their card.
fn unnamed(addresses: &[IpAddr]) -> Vec<InterfaceAddresses> {
    let address = |ip: &IpAddr| Address {
        family: if ip.is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 },
        ip: ip.to_string(),
        prefix: if ip.is_ipv4() { 32 } else { 128 },
    };
    if addresses.is_empty() {
        return Vec::new();
    }
    vec![InterfaceAddresses {
        name: "-".to_owned(),
        mac: None,
        addresses: addresses.iter().map(address).collect(),
    }]
}
