//! Addresses and names of a guest, by where they are known from.

use lodge_domain::control::{Refusal, Sort};
use lodge_model::Kind;

use super::{Guest, Look};
use crate::EngineError;

/// Where an address is known from (`virDomainInterfaceAddressesSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// netd's leases.
    Lease,
    /// The guest's agent.
    Agent,
    /// The host's neighbours.
    Arp,
}

/// The addresses of one card.
pub type GuestInterfaceAddresses = lodge_api::InterfaceAddresses;

impl Guest {
    /// Addresses of its cards.
    #[crate::boxed]
    pub async fn addresses(&self, source: Source) -> Look<Vec<GuestInterfaceAddresses>> {
        self.must_run()?;
        let told = match source {
            Source::Lease => self.engine.leased(&self.handle).await,
            Source::Arp => crate::device::arp(&self.handle),
            Source::Agent => {
                let agent = self.agent()?;
                let interfaces = agent.interfaces().await?;
                return Ok(interfaces.into_iter().map(crate::device::agent_interface).collect());
            }
        };
        told.map_err(|error: EngineError| match error.kind() {
            Kind::InvalidState => Refusal::not_running(),
            _ => Refusal::internal(error.to_string()),
        })
    }

    /// Its host name as its leases tell it.
    #[crate::boxed]
    pub async fn leased_hostname(&self) -> Look<String> {
        self.must_run()?;
        let document = self.document()?;
        for card in &document.devices.interfaces {
            let Some(mac) = card.mac() else { continue };
            let leases = self.engine.networks.addresses(mac).await;
            if let Some(name) = leases.into_iter().find_map(|lease| lease.hostname) {
                return Ok(name);
            }
        }
        let text = format!("no hostname found for domain {}", self.snapshot.name);
        Err(Refusal::new(Sort::NoHostname, text))
    }
}
