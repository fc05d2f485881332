//! Network interfaces: the card that the guest sees. The host's end of it is `netdev.rs`'s.

use lodge_model::domain::interface::{Interface, InterfaceDriver, InterfaceKind, LinkState};
use lodge_model::domain::os::BootSource;
use lodge_model::xml::OnOff;

use super::builder::{Builder, alias};
use super::controller::{virtio_name, virtio_options};
use super::netdev;
use super::props::Props;
use crate::claims::NicClaim;

/// Every `<interface>`.
pub(super) fn nics(b: &mut Builder<'_>) {
    for (at, interface) in b.domain.devices.interfaces.iter().enumerate() {
        b.at_device("interface", at);
        let claim = b.claims.nics.get(at).cloned().unwrap_or_default();
        one(b, interface, &claim);
    }
}

fn one(b: &mut Builder<'_>, interface: &Interface, claim: &NicClaim) {
    let id = alias(&interface.place).to_owned();
    netdev::judge(b, interface);
    if interface.kind == InterfaceKind::Hostdev {
        // A device of the host's: `hostdev.rs` has its argument.
        return own_card(b, interface);
    }
    let Some(props) = netdev::netdev(b, interface, claim, &id) else { return };
    b.json("-netdev", &props);
    card(b, interface, netdev::queues(interface, claim), &id);
    if interface.link.as_ref().is_some_and(|link| link.state == LinkState::Down) {
        b.command("set_link", serde_json::json!({ "name": id, "up": false }));
    }
}

/// What is said of a card of the host's that only one of QEMU's could do.
fn own_card(b: &mut Builder<'_>, interface: &Interface) {
    let port = interface.virtualport.tree("virtualport").unwrap_or_default();
    if let Some(kind) = port.attribute("type") {
        b.refuse(format!("virtualport type {kind} is currently not supported on interfaces of type hostdev"));
    }
    if interface.vlans().is_some_and(|vlans| vlans.trunk || vlans.tags.len() != 1) {
        b.refuse("vlan trunking is not supported by SR-IOV network devices");
    }
    if interface.link.as_ref().is_some_and(|link| link.state == LinkState::Down) {
        b.refuse("<link state='down'/>: a card of the host's has a cable of its own");
    }
    if interface.teaming.tree("teaming").is_some_and(|tree| tree.attribute("type") != Some("transient")) {
        b.refuse("the interface of a team that is a device of the host's is the one of type='transient'");
    }
}

fn card(b: &mut Builder<'_>, interface: &Interface, queues: usize, id: &str) {
    let model = interface.model().unwrap_or("rtl8139");
    let is_virtio = model.starts_with("virtio");
    let name = if is_virtio { virtio_name("virtio-net-pci", Some(model)) } else { model.to_owned() };
    let mut props = Props::driver(&name);
    if let Some(driver) = interface.driver.as_deref().filter(|_| is_virtio) {
        props = props
            .maybe("tx", driver.tx_mode.as_deref().map(|mode| if mode == "iothread" { "bh" } else { mode }))
            .maybe("ioeventfd", driver.ioeventfd.map(OnOff::is_on))
            .maybe("event_idx", driver.event_idx.map(OnOff::is_on))
            .maybe("rx_queue_size", driver.rx_queue_size)
            .maybe("tx_queue_size", driver.tx_queue_size)
            .maybe("rss", driver.rss.map(OnOff::is_on))
            .maybe("hash", driver.rss_hash_report.map(OnOff::is_on));
        props = virtio_options(offloads(props, driver), Some(&driver.virtio));
    }
    if is_virtio && queues > 1 {
        props = props.with("mq", true).with("vectors", 2 * queues + 2);
    }
    if let Some(mtu) = interface.mtu.as_ref() {
        if is_virtio {
            props = props.with("host_mtu", mtu.size_bytes);
        } else {
            b.refuse("only a virtio card can be told its MTU");
        }
    }
    // The other of the team is a device of the host's, which names this one.
    let teaming = interface.teaming.tree("teaming").unwrap_or_default();
    match (teaming.attribute("type"), is_virtio) {
        (None, _) => {}
        (Some("persistent"), true) => props = props.with("failover", true),
        (Some("persistent"), false) => b.refuse(format!(
            "virtio-net teaming persistent interface must be <model type='virtio'/>, not '{model}'"
        )),
        (Some(kind), _) => b.refuse(format!(
            "virtio-net teaming {kind} interface must be type='hostdev', not '{}'",
            interface.kind
        )),
    }
    props = props.with("netdev", format!("host{id}")).with("id", id);
    match interface.mac() {
        Some(mac) => props.set("mac", mac.to_string()),
        None => b.refuse("an interface needs a MAC address to be started"),
    }
    let props = props.maybe("bootindex", b.boot_index(&interface.place, BootSource::Network));
    let props =
        if model == "usb-net" { b.usb(props, &interface.place) } else { b.pci(props, &interface.place) };
    b.device(&name, &props);
}

/// What the card leaves to its other end, word by word.
fn offloads(mut props: Props, driver: &InterfaceDriver) -> Props {
    const HOST: [(&str, &str); 7] = [
        ("csum", "csum"),
        ("gso", "gso"),
        ("tso4", "host_tso4"),
        ("tso6", "host_tso6"),
        ("ecn", "host_ecn"),
        ("ufo", "host_ufo"),
        ("mrg_rxbuf", "mrg_rxbuf"),
    ];
    const GUEST: [(&str, &str); 5] = [
        ("csum", "guest_csum"),
        ("tso4", "guest_tso4"),
        ("tso6", "guest_tso6"),
        ("ecn", "guest_ecn"),
        ("ufo", "guest_ufo"),
    ];
    for (element, words) in [("host", &HOST[..]), ("guest", &GUEST[..])] {
        let tree = driver.foreign.tree(element).unwrap_or_default();
        for (word, property) in words {
            props = props.maybe(property, tree.attribute(word).map(|state| state == "on"));
        }
    }
    props
}
