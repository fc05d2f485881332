//! The host's end of a network interface: `-netdev`, and the stream below it where it has one.
//!
//! Names, properties and refusals are libvirt's (qemuBuildHostNetProps, qemuValidateDomainDeviceDefNetwork).
//! Deliberately absent: the card (`nic.rs`), and the making of taps, sockets and helpers.

use std::net::IpAddr;

use lodge_model::domain::interface::{Interface, InterfaceKind, InterfaceSource};

use super::builder::Builder;
use super::props::{Props, escaped};
use crate::claims::{FdNumber, NicClaim};

/// The `-netdev` of one interface. None: refused, and said so.
pub(super) fn netdev(
    b: &mut Builder<'_>,
    interface: &Interface,
    claim: &NicClaim,
    id: &str,
) -> Option<Props> {
    let none = InterfaceSource::default();
    let source = interface.source.as_deref().unwrap_or(&none);
    let props = match interface.kind {
        InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet | InterfaceKind::Direct => {
            tap(b, interface, claim)
        }
        InterfaceKind::User if is_passt(interface) => passt(b, id),
        // The other is another hypervisor's word, and QEMU's own stack is what libvirt gives for it.
        InterfaceKind::User | InterfaceKind::Internal => user(b, interface),
        InterfaceKind::VhostUser => vhost_user(b, interface, source, id),
        InterfaceKind::Server => socket(b, source, "listen", None),
        InterfaceKind::Client => socket(b, source, "connect", None),
        InterfaceKind::Mcast => socket(b, source, "mcast", None),
        InterfaceKind::Udp => {
            let local = source.foreign.tree("local").unwrap_or_default();
            let port = local.attribute("port").and_then(|port| port.parse().ok());
            let local = port.map(|port| (local.attribute("address").unwrap_or_default().to_owned(), port));
            if local.is_none() {
                b.refuse("<source><local>: attribute `port` is missing");
                return None;
            }
            socket(b, source, "udp", local)
        }
        InterfaceKind::Vdpa => vdpa(b, interface, claim),
        // Of other hypervisors; and a card of the host's has no other end here.
        kind @ (InterfaceKind::Hostdev | InterfaceKind::Null | InterfaceKind::Vds) => {
            b.refuse(format!("network device type '{kind}' is not supported by this hypervisor"));
            None
        }
    };
    props.map(|props| props.with("id", format!("host{id}")))
}

/// How many queues it has: as many as were opened, or as are asked for where nothing is opened per queue.
pub(super) fn queues(interface: &Interface, claim: &NicClaim) -> usize {
    match interface.kind {
        InterfaceKind::VhostUser | InterfaceKind::Vdpa => asked_queues(interface).unwrap_or(1) as usize,
        _ => claim.taps.len(),
    }
}

fn asked_queues(interface: &Interface) -> Option<u32> {
    interface.driver.as_deref().and_then(|driver| driver.queues)
}

/// Says what of the interface its kind cannot do, or nobody does here.
pub(super) fn judge(b: &mut Builder<'_>, interface: &Interface) {
    let kind = interface.kind;
    let has_queues = matches!(
        kind,
        InterfaceKind::Network
            | InterfaceKind::Bridge
            | InterfaceKind::Direct
            | InterfaceKind::Ethernet
            | InterfaceKind::VhostUser
            | InterfaceKind::Vdpa
    );
    if asked_queues(interface).is_some_and(|queues| queues > 0) && !has_queues {
        b.refuse(format!("Multiqueue network is not supported for: {kind}"));
    }
    let has_mtu = matches!(
        kind,
        InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet | InterfaceKind::VhostUser
    );
    if interface.mtu.is_some() && !has_mtu && !is_passt(interface) {
        b.refuse(format!("setting MTU on interface type {kind} is not supported yet"));
    }
    if kind != InterfaceKind::Ethernet && (interface.script.is_some() || interface.downscript.is_some()) {
        b.refuse(format!("scripts are not supported on interfaces of type {kind}"));
    }
    let backend = interface.backend.as_deref();
    if backend.is_some_and(|backend| backend.tap.as_deref().is_some_and(|tap| tap != "/dev/net/tun")) {
        b.refuse("<backend tap='…'>: taps are made by /dev/net/tun only");
    }
    switch(b, interface);
}

/// What is said to the switch that it is plugged into, where that is not a bridge.
fn switch(b: &mut Builder<'_>, interface: &Interface) {
    let kind = interface.kind;
    let is_tap = matches!(kind, InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet);
    if interface.bandwidth.is_some() && !is_tap && kind != InterfaceKind::Direct {
        b.refuse_hinted(
            format!("<bandwidth> is not supported on interfaces of type '{kind}'"),
            "leave it out, or use type='network', 'bridge', 'ethernet' or 'direct'",
        );
    }
    let has_vlans = matches!(kind, InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Hostdev);
    if interface.vlans().is_some() && !has_vlans {
        let mac = interface.mac().map(|mac| mac.to_string()).unwrap_or_default();
        b.refuse(format!("interface {mac} - vlan tag not supported for this connection type"));
    }
    let port = interface.virtualport.tree("virtualport");
    // A card of the host's says it in its own words.
    if let Some(port) = port.filter(|_| kind != InterfaceKind::Hostdev) {
        match (port.attribute("type"), kind) {
            // On a network that one, or a port group, may say which sort it is.
            (Some("openvswitch"), InterfaceKind::Bridge)
            | (None | Some("none" | "openvswitch"), InterfaceKind::Network) => {}
            (Some("openvswitch"), _) => b.refuse_hinted(
                format!("<virtualport type='openvswitch'> is not supported on interfaces of type '{kind}'"),
                "name the switch's bridge: <interface type='bridge'><source bridge='…'/>",
            ),
            (other, _) => {
                let other = other.unwrap_or("(none)");
                b.refuse(format!("<virtualport type='{other}'> is not supported; 'openvswitch' is"));
            }
        }
    }
    if !interface.coalesce.is_empty() && interface.gathered_frames().is_none() {
        b.refuse("<coalesce>: <rx><frames max='…'/></rx> is all that can be set");
    }
}

pub(super) fn is_passt(interface: &Interface) -> bool {
    interface.backend.as_deref().and_then(|backend| backend.kind.as_deref()) == Some("passt")
}

fn tap(b: &mut Builder<'_>, interface: &Interface, claim: &NicClaim) -> Option<Props> {
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
    // A number in its own right: QEMU takes a text for a size, but libvirt's has none of its suffixes.
    match limit.map(|limit| limit.trim().parse::<u64>()) {
        None => Some(netdev),
        Some(Ok(limit)) => Some(netdev.with("sndbuf", limit)),
        Some(Err(_)) => {
            b.refuse("<sndbuf>: a number of bytes is wanted");
            None
        }
    }
}

/// QEMU's own stack.
fn user(b: &mut Builder<'_>, interface: &Interface) -> Option<Props> {
    let backend = interface.backend.as_deref().and_then(|backend| backend.kind.as_deref());
    if let Some(kind) = backend.filter(|kind| *kind != "default") {
        b.refuse_hinted(
            format!("the backend '{kind}' is not supported"),
            "without <backend> QEMU's own is used; 'passt' is another",
        );
        return None;
    }
    let (v4, v6) = addresses(b, interface)?;
    let mut props = Props::plain().with("type", "user");
    if let Some((address, prefix)) = v4 {
        let prefix = prefix.map(|prefix| format!("/{prefix}")).unwrap_or_default();
        props.set("net", format!("{address}{prefix}"));
    }
    if let Some((address, prefix)) = v6 {
        props = props.with("ipv6-prefix", address.to_string()).maybe("ipv6-prefixlen", prefix);
    }
    Some(props)
}

/// An address of the guest's, with its prefix.
type Own = (IpAddr, Option<u8>);

/// The guest's own addresses: one of each family, as libvirt has it.
fn addresses(b: &mut Builder<'_>, interface: &Interface) -> Option<(Option<Own>, Option<Own>)> {
    let (mut v4, mut v6) = (None, None);
    for ip in &interface.ips {
        let Ok(address) = ip.address.parse::<IpAddr>() else {
            b.refuse(format!("<ip>: `{}` is no address", ip.address));
            return None;
        };
        let prefix = ip.prefix.filter(|prefix| *prefix > 0);
        let (family, place) = if address.is_ipv4() { ("IPv4", &mut v4) } else { ("IPv6", &mut v6) };
        let wrong = match (address, prefix) {
            _ if ip.peer.is_some() => Some("Invalid attempt to set peer IP for guest".to_owned()),
            _ if place.is_some() => Some(format!("Only one {family} address per interface is allowed")),
            (IpAddr::V4(_), Some(prefix)) if !(4..=27).contains(&prefix) => {
                Some("invalid prefix, must be in range of 4-27".to_owned())
            }
            (IpAddr::V6(_), Some(prefix)) if prefix != 64 => {
                Some(format!("unsupported IPv6 address prefix='{prefix}' - must be 64"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            b.refuse(format!("<ip>: {wrong}"));
            return None;
        }
        *place = Some((address, prefix));
    }
    Some((v4, v6))
}

/// passt, whose socket was connected beforehand.
fn passt(b: &mut Builder<'_>, id: &str) -> Option<Props> {
    let Some(fd) = b.claims.helpers.get(id) else {
        b.refuse("its helper, passt, was not started");
        return None;
    };
    let address = Props::plain().with("type", "fd").with("str", fd.to_string());
    Some(Props::plain().with("type", "stream").nested("addr", &address).with("server", false))
}

/// Between QEMUs, by a socket of QEMU's own.
fn socket(
    b: &mut Builder<'_>,
    source: &InterfaceSource,
    how: &str,
    local: Option<(String, u16)>,
) -> Option<Props> {
    let address = source.address.as_deref().unwrap_or_default();
    let Some(port) = source.port else {
        b.refuse("<source>: attribute `port` is missing");
        return None;
    };
    if address.is_empty() && how != "listen" {
        b.refuse("<source>: attribute `address` is missing");
        return None;
    }
    let place = |address: &str, port: u16| {
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    };
    let props = Props::plain().with("type", "socket").with(how, place(address, port));
    Some(props.maybe("localaddr", local.map(|(address, port)| place(&address, port))))
}

/// A switch in another process, which reads the guest's memory.
fn vhost_user(
    b: &mut Builder<'_>,
    interface: &Interface,
    source: &InterfaceSource,
    id: &str,
) -> Option<Props> {
    if is_passt(interface) {
        b.refuse_hinted(
            "<backend type='passt'> is supported with type='user' only yet",
            "use <interface type='user'>",
        );
        return None;
    }
    if !interface.model().is_some_and(|model| model.starts_with("virtio")) {
        b.refuse("vhost-user is for cards of model 'virtio' only");
        return None;
    }
    let reconnect = source.foreign.tree("reconnect").unwrap_or_default();
    let again = (reconnect.attribute("enabled") == Some("yes")).then(|| reconnect.attribute("timeout"));
    let again = match again.map(|timeout| timeout.unwrap_or_default().parse::<u32>()) {
        None => None,
        Some(Ok(seconds)) if seconds > 0 => Some(seconds),
        Some(_) => {
            b.refuse("<source><reconnect>: a timeout of at least one second is wanted");
            return None;
        }
    };
    let listens = source.mode.as_deref() == Some("server");
    let stream = match (b.claims.sockets.get(id), b.claims.helpers.get(id), source.path.as_deref()) {
        (Some(fd), ..) if listens => format!("socket,fd={fd},server=on"),
        (_, Some(fd), _) if !listens && again.is_none() => format!("socket,fd={fd}"),
        // QEMU has to find the way again by itself.
        (_, _, Some(path)) if !listens && again.is_some() => {
            let seconds = again.unwrap_or(1);
            let word = if b.capabilities.version.at_least(9, 2) {
                format!("reconnect-ms={}", u64::from(seconds) * 1000)
            } else {
                format!("reconnect={seconds}")
            };
            format!("socket,path={},{word}", escaped(path))
        }
        _ => {
            b.refuse("its socket was not opened");
            return None;
        }
    };
    let (kind, rest) = stream.split_once(',').unwrap_or((&stream, ""));
    b.arg("-chardev", format!("{kind},id=char{id},{rest}"));
    let props = Props::plain().with("type", "vhost-user").with("chardev", format!("char{id}"));
    Some(props.maybe("queues", asked_queues(interface).filter(|queues| *queues > 1)))
}

/// A card of the host's that speaks virtio itself.
fn vdpa(b: &mut Builder<'_>, interface: &Interface, claim: &NicClaim) -> Option<Props> {
    if interface.model() != Some("virtio") {
        let model = interface.model().unwrap_or_default();
        b.refuse(format!("invalid model for interface of type 'vdpa': '{model}'"));
        return None;
    }
    let Some(device) = claim.device else {
        b.refuse("its vDPA device was not opened");
        return None;
    };
    let path = b.fdset(device, "rdwr");
    b.lock_memory();
    let props = Props::plain().with("type", "vhost-vdpa").with("vhostdev", path);
    Some(props.maybe("queues", asked_queues(interface).filter(|queues| *queues > 1)))
}
