//! The host's side of an identity: what a guest is given, and cannot change.

use std::{collections::HashMap, net::IpAddr};

use lodge_domain::Handle;
use lodge_identity::HostFacts;
use lodge_model::{MacAddr, domain::Domain};
use lodge_network::Lease;

use crate::Engine;

/// What a document gives its guest.
pub(crate) fn given(document: &Domain) -> HostFacts {
    let smbios = document.sysinfo.iter().filter_map(|sysinfo| sysinfo.system.as_ref());
    let entries: Vec<_> = smbios.flat_map(|system| &system.entries).collect();
    let entry = |name: &str| {
        entries.iter().find(|entry| entry.name.as_deref() == Some(name)).and_then(|entry| entry.value.clone())
    };
    let told = entry("uuid").and_then(|text| text.parse().ok());
    HostFacts {
        name: document.name.clone(),
        smbios_uuid: told.or_else(|| document.uuid.map(|id| id.0)),
        generation_id: document
            .genid
            .as_ref()
            .and_then(|genid| genid.uuid.as_deref())
            .and_then(|text| text.parse().ok()),
        macs: document
            .devices
            .interfaces
            .iter()
            .filter_map(|card| card.mac().map(|mac| mac.to_string()))
            .collect(),
        serials: entry("serial").into_iter().collect(),
        addresses: Vec::new(),
    }
}

/// All leases, as they were at one look: for those who look at many guests.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_mac: HashMap<MacAddr, Vec<IpAddr>>,
    /// Each with its network's name.
    pub all: Vec<(String, Lease)>,
}

impl Engine {
    /// Looks at the leases of every network that runs.
    pub(super) async fn all_leases(&self, gaps: &mut Vec<String>) -> Leases {
        let mut leases = Leases::default();
        for network in self.networks.list().iter().filter(|network| network.active) {
            match self.networks.leases(network.id).await {
                Ok(found) => {
                    for lease in found {
                        leases.by_mac.entry(lease.mac).or_default().push(lease.ip.into());
                        leases.all.push((network.name.clone(), lease));
                    }
                }
                Err(error) => gaps.push(format!("network {}: {error}", network.name)),
            }
        }
        leases
    }

    /// What the host knows of a domain: its document, and the addresses that its cards have leased. Without `leases`
    /// the networks are asked for each card.
    pub(super) async fn facts_of(&self, handle: &Handle, leases: Option<&Leases>) -> HostFacts {
        let document = match handle.document() {
            Ok(document) => document,
            Err(error) => {
                tracing::warn!(domain = %handle.name(), %error, "document not read for its identity");
                return HostFacts { name: handle.name().to_string(), ..HostFacts::default() };
            }
        };
        let mut facts = given(&document);
        for card in &document.devices.interfaces {
            let Some(mac) = card.mac() else { continue };
            let found: Vec<IpAddr> = match leases {
                Some(leases) => leases.by_mac.get(&mac).cloned().unwrap_or_default(),
                None => self.networks.addresses(mac).await.into_iter().map(|lease| lease.ip.into()).collect(),
            };
            facts.addresses.extend(found.iter().map(ToString::to_string));
        }
        facts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    #[test]
    fn a_document_gives_its_guest_an_identity() {
        let text = "<domain type='kvm'><name>a</name><uuid>11111111-1111-4111-8111-111111111111</uuid>
          <genid>22222222-1111-4111-8111-111111111111</genid><memory>1</memory>
          <sysinfo type='smbios'><system><entry name='serial'>S-1</entry></system></sysinfo>
          <os><type>hvm</type></os>
          <devices><interface type='user'><mac address='52:54:00:AA:00:01'/></interface></devices></domain>";
        let facts = given(&Domain::parse(text).unwrap());
        assert_eq!(facts.smbios_uuid.unwrap().to_string(), "11111111-1111-4111-8111-111111111111");
        assert_eq!(facts.generation_id.unwrap().to_string(), "22222222-1111-4111-8111-111111111111");
        assert_eq!(
            (facts.macs, facts.serials),
            (vec!["52:54:00:aa:00:01".to_owned()], vec!["S-1".to_owned()])
        );
    }
}
