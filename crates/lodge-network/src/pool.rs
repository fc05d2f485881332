//! Networks that lend virtual functions of network cards to guests: `<forward mode='hostdev'>`. Pure.
//!
//! Such a network has nothing on the host but its name: a guest's interface on it becomes one of type `hostdev` for the
//! time of the run. Who has which function, the host's devices know. Deliberately absent: cards by `<interface dev='…'/>`.

use lodge_model::domain::address::PciAddress;
use lodge_model::network::{Forward, Network};
use lodge_model::xml::Foreign;
use lodge_model::{Fault, Faults};

/// What a network lends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionPool {
    /// Interfaces of cards all of whose functions it lends.
    pub cards: Vec<String>,
    /// And these functions.
    pub addresses: Vec<PciAddress>,
    /// They are taken from the host's drivers, and given back.
    pub managed: bool,
    /// `<driver name='vfio'/>`.
    pub driver: Option<String>,
    /// The network's `<vlan>`, for interfaces that say none.
    pub vlan: Foreign,
}

impl FunctionPool {
    /// What the document says of it.
    pub(crate) fn of(network: &Network, forward: &Forward, faults: &mut Faults) -> Self {
        let mut fault = |path: &str, why: &str| faults.0.push(Fault::at(path.to_owned(), why));
        let cards = forward.cards();
        let addresses = forward.addresses().unwrap_or_else(|| {
            fault("/network/forward/address", "an address of type 'pci' is wanted");
            Vec::new()
        });
        match (cards.len(), addresses.len()) {
            (0, 0) => fault(
                "/network/forward",
                "which devices are lent say <pf dev='…'/> or <address type='pci' …/>",
            ),
            (0, _) | (1, 0) => {}
            _ => fault("/network/forward", "the devices are those of one <pf>, or those of <address>"),
        }
        if !network.ips.is_empty() {
            fault("/network/ip", "a network that lends devices has no addresses");
        }
        Self {
            cards,
            addresses,
            managed: forward.foreign.attribute("managed") == Some("yes"),
            driver: forward.foreign.tree("driver").and_then(|tree| tree.attribute("name").map(str::to_owned)),
            vlan: network.vlan.clone(),
        }
    }
}
