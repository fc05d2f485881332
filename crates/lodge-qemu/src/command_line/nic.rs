//! Network interfaces: a tap's descriptor, and the card the guest sees.

use lodge_model::domain::interface::{Interface, InterfaceDriver, InterfaceKind, LinkState};
use lodge_model::domain::os::BootSource;
use lodge_model::xml::OnOff;

use super::builder::{Builder, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::Props;
use crate::claims::{FdNumber, NicClaim};

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
    let netdev = match interface.kind {
        InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet => {
            tap(b, interface, claim, &id)
        }
        InterfaceKind::User => user(b, interface, &id),
        kind => {
            b.refuse(format!("interfaces of type '{kind}' are not supported yet; 'network', 'bridge', 'ethernet' and 'user' are"));
            None
        }
    };
    let Some(netdev) = netdev else { return };
    b.json("-netdev", &netdev);
    card(b, interface, claim.taps.len(), &id);
    if interface.link.as_ref().is_some_and(|link| link.state == LinkState::Down) {
        b.command("set_link", serde_json::json!({ "name": id, "up": false }));
    }
}

fn tap(b: &mut Builder<'_>, interface: &Interface, claim: &NicClaim, id: &str) -> Option<Props> {
    let join = |fds: &[FdNumber]| fds.iter().map(ToString::to_string).collect::<Vec<_>>().join(":");
    let netdev = Props::plain().with("type", "tap");
    let netdev = match claim.taps.as_slice() {
        [] => {
            b.refuse("no tap was made for it");
            return None;
        }
        [one] => netdev.with("fd", one.to_string()),
        many => netdev.with("fds", join(many)),
    };
    let netdev = match claim.vhosts.as_slice() {
        [] => netdev,
        [one] => netdev.with("vhost", true).with("vhostfd", one.to_string()),
        many => netdev.with("vhost", true).with("vhostfds", join(many)),
    };
    let limit =
        interface.tune.tree("tune").and_then(|tune| tune.child("sndbuf").map(|limit| limit.text.clone()));
    if limit.as_ref().is_some_and(|limit| limit.parse::<u64>().is_err()) {
        b.refuse("<sndbuf>: a number of bytes is wanted");
        return None;
    }
    let netdev = netdev.maybe("sndbuf", limit);
    Some(netdev.with("id", format!("host{id}")))
}

fn user(b: &mut Builder<'_>, interface: &Interface, id: &str) -> Option<Props> {
    let backend = interface.backend.as_deref().and_then(|backend| backend.kind.as_deref());
    if let Some(kind) = backend.filter(|kind| *kind != "default") {
        b.refuse_hinted(
            format!("the backend '{kind}' is not supported yet"),
            "without <backend> QEMU's own is used",
        );
        return None;
    }
    if !interface.ips.is_empty() {
        b.refuse("a guest's own addresses on a type='user' interface are not supported yet");
    }
    Some(Props::plain().with("type", "user").with("id", format!("host{id}")))
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
