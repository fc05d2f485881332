//! What of a network interface does not go together with its kind.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::interface::{Interface, InterfaceKind, InterfaceSource};
use crate::domain::memory::MemoryAccessMode;
use crate::xml::Foreign;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let nics = &domain.devices.interfaces;
    for (at, nic) in nics.iter().enumerate() {
        let path = nth("/domain/devices/interface", at, nics.len());
        if nic.kind == InterfaceKind::VhostUser && !shares_memory(domain) {
            found.add(
                path.as_str(),
                "its other end reads the guest's memory: <access mode='shared'/> is missing",
            );
        }
        source(nic, &path, found);
        addresses(nic, &path, found);
        switch(nic, &path, found);
        card(nic, &path, found);
    }
}

pub(super) fn shares_memory(domain: &Domain) -> bool {
    let access = domain.memory_backing.as_deref().and_then(|backing| backing.access.as_ref());
    let cells = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref());
    access.is_some_and(|access| access.mode == MemoryAccessMode::Shared)
        || cells.is_some_and(|numa| numa.cells.iter().any(|cell| cell.access.as_deref() == Some("shared")))
}

fn source(nic: &Interface, path: &str, found: &mut Found) {
    let none = InterfaceSource::default();
    let source = nic.source.as_deref().unwrap_or(&none);
    let path = format!("{path}/source");
    let modes: &[&str] = match nic.kind {
        InterfaceKind::Direct => &["vepa", "bridge", "private", "passthrough"],
        InterfaceKind::VhostUser => &["client", "server"],
        _ => &[],
    };
    if let Some(mode) = source.mode.as_deref().filter(|mode| !modes.is_empty() && !modes.contains(mode)) {
        found.add(
            format!("{path}/@mode"),
            format!("`{mode}` is not known here (known: {})", modes.join(", ")),
        );
    }
    let is_vhost = nic.kind == InterfaceKind::VhostUser;
    if let Some(kind) = source.kind.as_deref().filter(|kind| is_vhost && *kind != "unix") {
        found.add(format!("{path}/@type"), format!("`{kind}` is not known here (known: unix)"));
    }
    let is_socket = matches!(
        nic.kind,
        InterfaceKind::Server | InterfaceKind::Client | InterfaceKind::Mcast | InterfaceKind::Udp
    );
    if is_socket && source.port.is_none() {
        found.add(format!("{path}/@port"), "attribute `port` is missing");
    }
    if nic.kind == InterfaceKind::Udp && source.foreign.tree("local").is_none() {
        found.add(format!("{path}/local"), "element <local> is missing");
    }
}

/// Addresses and ways inside of the guest, which no QEMU can give it.
fn addresses(nic: &Interface, path: &str, found: &mut Found) {
    let has_own_net = matches!(nic.kind, InterfaceKind::User | InterfaceKind::VhostUser);
    if !nic.ips.is_empty() && !has_own_net {
        found.add(format!("{path}/ip"), "the guest's own addresses are the guest's matter");
    }
    if !nic.route.is_empty() {
        found.add(format!("{path}/route"), "the guest's own ways are the guest's matter");
    }
    let backend = nic.backend.as_deref().and_then(|backend| backend.kind.as_deref());
    if !nic.port_forward.is_empty() && backend != Some("passt") {
        found.add(format!("{path}/portForward"), "ports are passed on by <backend type='passt'/> only");
    }
}

/// What is said to the switch it is plugged into.
fn switch(nic: &Interface, path: &str, found: &mut Found) {
    let tree = |kept: &Foreign, name| kept.tree(name).unwrap_or_default();
    let port = tree(&nic.virtualport, "virtualport");
    const PORTS: [&str; 5] = ["none", "802.1Qbg", "802.1Qbh", "openvswitch", "midonet"];
    if let Some(kind) = port.attribute("type").filter(|kind| !PORTS.contains(kind)) {
        let message = format!("`{kind}` is not known here (known: {})", PORTS.join(", "));
        found.add(format!("{path}/virtualport"), message);
    }
    let vlan = tree(&nic.vlan, "vlan");
    let path_of_vlan = format!("{path}/vlan");
    for tag in vlan.all("tag") {
        let id = tag.attribute("id").unwrap_or_default();
        if id.parse::<u16>().map_or(true, |id| id > 4095) {
            found.add(path_of_vlan.as_str(), format!("`{id}` is no number of a VLAN, up to 4095"));
        }
    }
    if vlan.all("tag").count() > 1 && vlan.attribute("trunk") == Some("no") {
        found.add(path_of_vlan, "several tags need trunk='yes'");
    }
    if let Some(bandwidth) = nic.bandwidth.as_deref() {
        let path = format!("{path}/bandwidth");
        for rate in [&bandwidth.inbound, &bandwidth.outbound].into_iter().flatten() {
            if rate.average_kib_s.is_none() && rate.floor_kib_s.is_none() {
                found.add(path.as_str(), "a rate needs `average` or `floor`");
            }
        }
        let has_floor = bandwidth.inbound.as_ref().is_some_and(|rate| rate.floor_kib_s.is_some());
        if has_floor && nic.kind != InterfaceKind::Network {
            found.add(path, "a floor is what a network keeps free (type='network')");
        }
    }
    let is_tap = matches!(nic.kind, InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet);
    if !nic.coalesce.is_empty() && !is_tap {
        found.add(format!("{path}/coalesce"), format!("type='{}' has no such settings", nic.kind));
    }
}

fn card(nic: &Interface, path: &str, found: &mut Found) {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if let Some(model) = nic.model().filter(|model| !is_name(model)) {
        found.add(format!("{path}/model/@type"), format!("`{model}` cannot name a device"));
    }
    if let Some(driver) = nic.driver.as_deref() {
        for (name, size) in [("rx_queue_size", driver.rx_queue_size), ("tx_queue_size", driver.tx_queue_size)]
        {
            if let Some(size) = size.filter(|size| !size.is_power_of_two()) {
                found.add(format!("{path}/driver/@{name}"), format!("{size} is no power of two"));
            }
        }
    }
    let teaming = nic.teaming.tree("teaming").unwrap_or_default();
    if teaming.attribute("type") == Some("transient")
        && !matches!(nic.kind, InterfaceKind::Hostdev | InterfaceKind::Network)
    {
        found.add(
            format!("{path}/teaming"),
            "the one that comes and goes is a device of the host's (type='hostdev')",
        );
    }
}
