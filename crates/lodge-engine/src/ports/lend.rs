//! Networks that lend virtual functions of network cards: a guest's interface on one becomes, for its run, the interface
//! of type `hostdev` that it stands for.
//!
//! The definition keeps the network's name; the live document names the function. Deliberately absent: who has it, which
//! the claim of the host's devices settles; here only one that is free now is chosen.

use lodge_domain::PortError;
use lodge_model::{
    DomainId, Kind,
    domain::{
        Domain,
        address::PciAddress,
        hostdev::HostAddress,
        interface::{Interface, InterfaceDriver, InterfaceKind, InterfaceSource},
    },
    xml::{ForeignItem, Position, WriteOptions},
};
use lodge_network::FunctionPool;

use super::cards::Cards;

impl Cards {
    /// Chooses a function for each interface of `document` that is to have one.
    pub(super) fn lend_functions(&self, domain: DomainId, document: &mut Domain) -> Result<(), PortError> {
        let (mut named, mut has_lent) = (named(document), false);
        for card in &mut document.devices.interfaces {
            let network = card.source.as_deref().and_then(|source| source.network.as_deref());
            let Some(name) = network.filter(|_| card.kind == InterfaceKind::Network) else { continue };
            // What is wrong with a network is told where cards are plugged in.
            let Ok(network) = self.networks.get(name) else { continue };
            let Some(pool) = network.functions.as_ref().filter(|_| network.active) else { continue };
            let of_cards = pool.cards.iter().flat_map(|card| self.devices.functions_of(card));
            let mut all = pool.addresses.iter().cloned().chain(of_cards);
            let free = all.find(|address| !named.contains(address) && self.devices.is_free(domain, address));
            let Some(free) = free else {
                let text = format!(
                    "network '{name}' requires exclusive access to interfaces, but none are available"
                );
                return Err(PortError::new(Kind::Exhausted, text).with_hint(
                    "shut a guest off that has one of its functions, or make more: sriov_numvfs",
                ));
            };
            become_function(card, &free, pool);
            named.push(free);
            has_lent = true;
        }
        if has_lent { reread(document) } else { Ok(()) }
    }
}

/// What is only kept of a document is known by where it stood, and what was put in stood nowhere.
fn reread(document: &mut Domain) -> Result<(), PortError> {
    let live = WriteOptions { inactive: false, security_info: true, migratable: false };
    let read = Domain::parse(&document.to_xml(&live));
    *document = read.map_err(|faults| PortError::new(Kind::Internal, faults.to_string()))?;
    Ok(())
}

/// Devices of the host's that the document names already.
fn named(document: &Domain) -> Vec<PciAddress> {
    let cards = document.devices.interfaces.iter().filter_map(Interface::as_hostdev);
    let all = document.devices.hostdevs.iter().cloned().chain(cards);
    let address = |hostdev: lodge_model::domain::hostdev::Hostdev| match hostdev.source.address {
        Some(HostAddress::Pci(address)) => Some(address),
        _ => None,
    };
    all.filter_map(address).collect()
}

fn become_function(card: &mut Interface, address: &PciAddress, pool: &FunctionPool) {
    card.kind = InterfaceKind::Hostdev;
    card.model = None;
    let driver = |name: &String| InterfaceDriver { name: Some(name.clone()), ..InterfaceDriver::default() };
    card.driver = pool.driver.as_ref().map(driver).map(Box::new);
    let mut source = InterfaceSource::default();
    source.foreign.set_trees(&["address"], &[address.to_kept()]);
    card.source = Some(Box::new(source));
    if pool.managed {
        let (name, value) = ("managed".into(), "yes".into());
        card.foreign.push(ForeignItem::Attribute { name, value, at: Position::default() });
    }
    if card.vlan.is_empty() {
        card.vlan = pool.vlan.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_of_a_network_becomes_the_function_that_it_stands_for() {
        let text = "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>\
                    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='pool'/>\
                    <model type='virtio'/></interface></devices></domain>";
        let mut document = Domain::parse(text).unwrap();
        let vlan = Domain::parse(&text.replace("<model", "<vlan><tag id='42'/></vlan><model")).unwrap();
        let pool = FunctionPool {
            cards: vec!["eth0".into()],
            addresses: Vec::new(),
            managed: true,
            driver: Some("vfio".into()),
            vlan: vlan.devices.interfaces[0].vlan.clone(),
        };
        let address = PciAddress { domain: 1, ..PciAddress::new(2, 16, 2) };
        become_function(&mut document.devices.interfaces[0], &address, &pool);
        reread(&mut document).unwrap();
        assert_eq!(named(&document), [address]);
        assert!(document.unsupported().iter().all(|fault| fault.path.starts_with("/domain/")));
        let text = document.to_xml(&WriteOptions::STORED);
        for part in [
            "<interface type='hostdev' managed='yes'>",
            "<address type='pci' domain='0x0001' bus='0x02' slot='0x10' function='0x2'/>",
            "<driver name='vfio'/>",
            "<tag id='42'/>",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(!text.contains("virtio") && !text.contains("network="), "{text}");
    }
}
