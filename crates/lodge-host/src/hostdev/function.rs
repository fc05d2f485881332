//! Virtual functions of network cards (SR-IOV): the address and the VLAN that the card itself holds for one of them.
//!
//! ```text
//!  /sys/bus/pci/devices/0000:02:10.0 ─ physfn ─▶ 0000:02:00.0 ─ net ─▶ enp2s0f0
//!                 └──── virtfn0 ◀────────────────────┘
//! ```
//!
//! All of a card's are listed for networks that lend them; which one is free, [`Hostdevs::is_free`](super::Hostdevs) says.
//! Set before the guest has the function, so that it finds the address of its document; set back before the host's
//! driver has it again. Deliberately absent: 802.1Qbh, and cards that are no virtual functions: nobody could hold the
//! guest to an address there, and `<hostdev>` is the word for them (as with libvirt).

use std::io;
use std::path::Path;

use lodge_model::MacAddr;
use lodge_model::domain::address::PciAddress;
use lodge_model::domain::interface::Interface;

use super::error::{Fault, HostdevError};
use super::find::Found;
use super::kernel::Kernel;
use super::note::Setting;
use super::pci::directory;
use super::taken::Key;

/// What drivers that do not take all zeroes are given instead: a local address, as libvirt does.
const NOBODYS: MacAddr = MacAddr([2, 0, 0, 0, 0, 0]);

/// A virtual function, and what is wished for it.
#[derive(Debug)]
pub(super) struct Card {
    /// Its own address on PCI.
    pub address: String,
    /// Its card.
    pub place: Place,
    pub wish: Setting,
}

/// Where a card counts a virtual function.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The card's interface.
    pub card: String,
    pub number: u32,
}

/// Adds what an interface of a document's says to the device that it is.
pub(super) fn of_interface(root: &Path, interface: &Interface, found: Found) -> Result<Found, HostdevError> {
    let address = found.wishes.iter().find_map(|wish| match &wish.key {
        Key::Pci(address) => Some(address.clone()),
        _ => None,
    });
    let card = || -> Result<Card, Fault> {
        let address = address.ok_or(Fault::Unnamed { what: "<address> is missing" })?;
        let place = place_of(root, &address)?;
        let mac = interface.mac().ok_or(Fault::Unnamed { what: "the MAC address is missing" })?;
        let vlans = interface.vlans().filter(|vlans| !vlans.trunk).unwrap_or_default();
        let vlan = vlans.tags.first().copied().map_or(0, u32::from);
        Ok(Card { address, place, wish: Setting { mac, vlan, priority: 0 } })
    };
    match card() {
        Ok(card) => Ok(Found { card: Some(card), ..found }),
        Err(fault) => Err(HostdevError { element: found.element, fault }),
    }
}

/// The card of a virtual function.
pub(super) fn place_of(root: &Path, address: &str) -> Result<Place, Fault> {
    let physical = directory(root, address).join("physfn");
    if !physical.exists() {
        return Err(Fault::NotVirtual { device: address.to_owned() });
    }
    let no_card = || Fault::NoCard { device: address.to_owned() };
    let is_it = |number: &u32| {
        let link = std::fs::read_link(physical.join(format!("virtfn{number}")));
        link.is_ok_and(|link| link.file_name().is_some_and(|name| name == address))
    };
    let mut numbers = (0..).take_while(|number| physical.join(format!("virtfn{number}")).exists());
    let number = numbers.find(is_it).ok_or_else(no_card)?;
    let names = std::fs::read_dir(physical.join("net")).into_iter().flatten().flatten();
    let card = names.filter_map(|entry| entry.file_name().into_string().ok()).min();
    Ok(Place { card: card.ok_or_else(no_card)?, number })
}

/// All functions of the card with this interface.
pub(super) fn all_of(root: &Path, card: &str) -> Vec<PciAddress> {
    let device = root.join("sys/class/net").join(card).join("device");
    let link = |number: u32| std::fs::read_link(device.join(format!("virtfn{number}"))).ok();
    let functions = (0..).map_while(link);
    functions.filter_map(|link| address_of(link.file_name()?.to_str()?)).collect()
}

/// `0000:02:10.0` read.
fn address_of(text: &str) -> Option<PciAddress> {
    let mut parts = text.split([':', '.']).map(|part| u16::from_str_radix(part, 16).ok());
    let mut next = || parts.next().flatten();
    let (domain, bus, slot, function) = (next()?, next()?, next()?, next()?);
    let (bus, slot, function) = (bus.try_into().ok()?, slot.try_into().ok()?, function.try_into().ok()?);
    Some(PciAddress { domain, ..PciAddress::new(bus, slot, function) })
}

/// What a card that is on has for its function now.
pub(super) fn setting(kernel: &dyn Kernel, place: &Place) -> Result<Setting, Fault> {
    let Place { card, number } = place;
    let seen = kernel.function(card, *number);
    let (is_up, setting) = seen.map_err(|source| failed("ask", place, source))?;
    // Nothing would come of it, and no error either.
    if is_up { Ok(setting) } else { Err(Fault::CardOff { card: card.clone(), number: *number }) }
}

/// Makes it so. What is so already is not touched: not every driver can do all of it.
pub(super) fn set(kernel: &dyn Kernel, place: &Place, wish: &Setting) -> Result<(), Fault> {
    let Place { card, number } = place;
    let (_, now) = kernel.function(card, *number).map_err(|source| failed("ask", place, source))?;
    if now.mac != wish.mac {
        let set = kernel.set_address(card, *number, wish.mac);
        let set = match set {
            Err(_) if wish.mac == MacAddr::default() && now.mac == NOBODYS => Ok(()),
            Err(_) if wish.mac == MacAddr::default() => kernel.set_address(card, *number, NOBODYS),
            set => set,
        };
        set.map_err(|source| failed("set the address of", place, source))?;
    }
    if (now.vlan, now.priority) != (wish.vlan, wish.priority) {
        let set = kernel.set_vlan(card, *number, wish.vlan, wish.priority);
        set.map_err(|source| failed("set the VLAN of", place, source))?;
    }
    Ok(())
}

fn failed(act: &'static str, place: &Place, source: io::Error) -> Fault {
    Fault::Function { act, card: place.card.clone(), number: place.number, source }
}
