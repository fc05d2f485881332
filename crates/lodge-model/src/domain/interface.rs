//! `<interface>`.

use super::address::{PciAddress, Place};
use super::hostdev::{
    HostAddress, Hostdev, HostdevDriver, HostdevKind, HostdevMode, HostdevSource, HostdevTeaming,
};
use super::virtio::VirtioOptions;
use crate::MacAddr;
use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Kept, Xml};

words! {
    /// What an interface is plugged into.
    pub enum InterfaceKind {
        User = "user", Ethernet = "ethernet", VhostUser = "vhostuser", Server = "server", Client = "client", Mcast = "mcast",
        Network = "network", Bridge = "bridge", Internal = "internal", Direct = "direct", Hostdev = "hostdev", Udp = "udp",
        Vdpa = "vdpa", Null = "null", Vds = "vds",
    }
}

/// `<interface type='network'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Interface {
    /// What it is plugged into.
    #[xml(attr = "type", required)]
    pub kind: InterfaceKind,
    /// Whether the host follows the guest's receive filters.
    #[xml(attr = "trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// `<mac address='…'/>`.
    #[xml(child)]
    pub mac: Option<Mac>,
    /// `<source network='default'/>`.
    #[xml(child)]
    pub source: Option<Box<InterfaceSource>>,
    /// `<vlan>`, kept as it is.
    #[xml(kept = "vlan")]
    pub vlan: Foreign,
    /// `<virtualport>`, kept as it is.
    #[xml(kept = "virtualport")]
    pub virtualport: Foreign,
    /// `<bandwidth>`.
    #[xml(child)]
    pub bandwidth: Option<Box<Bandwidth>>,
    /// `<port isolated='yes'/>`.
    #[xml(child)]
    pub port: Option<PortOptions>,
    /// `<ip address='…' prefix='24'/>`.
    #[xml(children = "ip")]
    pub ips: Vec<GuestIp>,
    /// `<route>`, kept as it is.
    #[xml(kept = "route")]
    pub route: Foreign,
    /// `<portForward>`, kept as it is.
    #[xml(kept = "portForward")]
    pub port_forward: Foreign,
    /// `<script path='…'/>`.
    #[xml(child)]
    pub script: Option<Script>,
    /// `<downscript path='…'/>`.
    #[xml(child)]
    pub downscript: Option<Script>,
    /// `<backenddomain>` of Xen's, kept as it is.
    #[xml(kept = "backenddomain")]
    pub backend_domain: Foreign,
    /// `<target dev='vnet0'/>`; names `vnetN` are the daemon's and only live.
    #[xml(child)]
    pub target: Option<InterfaceTarget>,
    /// `<model type='virtio'/>`.
    #[xml(child)]
    pub model: Option<InterfaceModel>,
    /// `<driver name='vhost' queues='2'/>`; of a card of the host's libvirt writes it before its source.
    #[xml(child, ahead = "source if is_hosts_own")]
    pub driver: Option<Box<InterfaceDriver>>,
    /// `<backend type='passt'/>`.
    #[xml(child)]
    pub backend: Option<Box<InterfaceBackend>>,
    /// `<filterref>`, kept as it is.
    #[xml(kept = "filterref")]
    pub filterref: Foreign,
    /// `<tune>`, kept as it is.
    #[xml(kept = "tune")]
    pub tune: Foreign,
    /// `<link state='down'/>`.
    #[xml(child)]
    pub link: Option<Link>,
    /// `<mtu size='1500'/>`.
    #[xml(child)]
    pub mtu: Option<Mtu>,
    /// `<coalesce>`, kept as it is.
    #[xml(kept = "coalesce")]
    pub coalesce: Foreign,
    /// `<teaming>`, kept as it is.
    #[xml(kept = "teaming")]
    pub teaming: Foreign,
    /// Boot order, alias, ROM, address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know; among it VLANs, virtual ports and filters.
    #[xml(foreign, keeps = "guest @managed")]
    pub foreign: Foreign,
}

impl Interface {
    /// Whether passt is its other end.
    pub fn is_passt(&self) -> bool {
        self.backend.as_deref().is_some_and(|backend| backend.kind.as_deref() == Some("passt"))
    }

    /// Its element alone, for `attach-device` and its kin.
    pub fn to_xml(&self, options: &crate::xml::WriteOptions) -> String {
        crate::xml::write(self, "interface", *options)
    }

    /// Whether it is a card of the host's.
    pub fn is_hosts_own(&self) -> bool {
        self.kind == InterfaceKind::Hostdev
    }

    /// Its Ethernet address, once there is one.
    pub fn mac(&self) -> Option<MacAddr> {
        self.mac.as_ref().map(|mac| mac.address)
    }

    /// A card of the host's (`type='hostdev'`) as the device that it is: QEMU and the host have no other word for it.
    /// Without `source.address` the element names none.
    pub fn as_hostdev(&self) -> Option<Hostdev> {
        if self.kind != InterfaceKind::Hostdev {
            return None;
        }
        let driver = self.driver.as_deref().and_then(|driver| driver.name.as_deref());
        let teaming = self.teaming.tree("teaming").map(|tree| HostdevTeaming {
            kind: tree.attribute("type").unwrap_or_default().to_owned(),
            persistent: tree.attribute("persistent").map(str::to_owned),
            ..HostdevTeaming::default()
        });
        Some(Hostdev {
            mode: HostdevMode::Subsystem,
            kind: HostdevKind::Pci,
            managed: self.foreign.attribute("managed").and_then(|word| word.parse().ok()),
            driver: HostdevDriver {
                name: driver.and_then(|name| name.parse().ok()),
                ..HostdevDriver::default()
            },
            source: HostdevSource {
                address: self.host_address().map(HostAddress::Pci),
                ..HostdevSource::default()
            },
            teaming,
            place: self.place.clone(),
            ..Hostdev::default()
        })
    }

    /// `<source><address type='pci' …/></source>`: where the host has it.
    fn host_address(&self) -> Option<PciAddress> {
        PciAddress::of_kept(&self.source.as_deref()?.foreign.tree("address")?)
    }

    /// The VLANs that `<vlan>` names; none: no such element.
    pub fn vlans(&self) -> Option<Vlans> {
        Vlans::of(&self.vlan)
    }

    /// How many received frames the host's end gathers: `<coalesce><rx><frames max='32'/></rx></coalesce>`.
    pub fn gathered_frames(&self) -> Option<u32> {
        let tree = self.coalesce.tree("coalesce")?;
        tree.child("rx")?.child("frames")?.attribute("max")?.parse().ok()
    }

    /// QEMU's model word, `virtio` for `<model type='virtio'/>`.
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.kind.as_str())
    }
}

/// `<vlan trunk='yes'><tag id='42' nativeMode='untagged'/><tag id='43'/></vlan>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vlans {
    /// The guest sees tags itself.
    pub trunk: bool,
    /// The VLANs, in the document's order.
    pub tags: Vec<u16>,
    /// The one that frames without a tag belong to, and whether its frames reach the guest without one.
    pub native: Option<(u16, bool)>,
}

impl Vlans {
    /// What a kept `<vlan>` says; several tags, and a native one, are a trunk (virNetDevVlanParse).
    pub fn of(kept: &Foreign) -> Option<Self> {
        let tree = kept.tree("vlan")?;
        let id = |tag: &Kept| tag.attribute("id").and_then(|id| id.parse().ok());
        let tags: Vec<u16> = tree.all("tag").filter_map(id).collect();
        let native = tree.all("tag").find_map(|tag| {
            let mode = tag.attribute("nativeMode")?;
            Some((id(tag)?, mode == "untagged"))
        });
        let trunk = tree.attribute("trunk") == Some("yes") || tags.len() > 1 || native.is_some();
        (!tags.is_empty()).then_some(Self { trunk, tags, native })
    }
}

/// `<mac address='52:54:00:…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Mac {
    /// The address.
    #[xml(attr, required)]
    pub address: MacAddr,
    /// `static` or `generated` (ESX).
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// Whether it is checked (ESX).
    #[xml(attr)]
    pub check: Option<YesNo>,
    /// Live: what the guest has set it to.
    #[xml(attr = "currentAddress", live)]
    pub current: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<source network='default'/>`: which attribute counts depends on the interface's kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct InterfaceSource {
    /// `type='network'`.
    #[xml(attr)]
    pub network: Option<String>,
    /// `type='network'`: the port group.
    #[xml(attr = "portgroup")]
    pub port_group: Option<String>,
    /// `type='network'`, live: the port's UUID.
    #[xml(attr = "portid", live)]
    pub port_id: Option<String>,
    /// `type='bridge'`; in the live form also of `network`.
    #[xml(attr)]
    pub bridge: Option<String>,
    /// `type='direct'`, `user` (passt) or `vdpa`: the host's interface.
    #[xml(attr)]
    pub dev: Option<String>,
    /// `type='vhostuser'`: `unix`.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// `type='internal'`: which network of QEMU's.
    #[xml(attr)]
    pub name: Option<String>,
    /// `type='vhostuser'`: the socket.
    #[xml(attr)]
    pub path: Option<String>,
    /// `type='direct'`: `bridge`, `private`, `vepa`, `passthrough`; `type='vhostuser'`: `client`, `server`.
    #[xml(attr)]
    pub mode: Option<String>,
    /// `type='server'`, `client`, `mcast`, `udp`.
    #[xml(attr)]
    pub address: Option<String>,
    /// `type='server'`, `client`, `mcast`, `udp`.
    #[xml(attr)]
    pub port: Option<u16>,
    /// What this struct does not know.
    #[xml(
        foreign,
        keeps = "local address reconnect route ip @managed @tls @switchid @portgroupid @connectionid @hostname"
    )]
    pub foreign: Foreign,
}

/// `<bandwidth>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Bandwidth {
    /// To the guest.
    #[xml(child)]
    pub inbound: Option<Rate>,
    /// From the guest.
    #[xml(child)]
    pub outbound: Option<Rate>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<inbound average='1000' peak='5000' floor='200' burst='1024'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Rate {
    /// In KiB/s.
    #[xml(attr = "average")]
    pub average_kib_s: Option<u64>,
    /// In KiB/s.
    #[xml(attr = "peak")]
    pub peak_kib_s: Option<u64>,
    /// In KiB/s.
    #[xml(attr = "floor")]
    pub floor_kib_s: Option<u64>,
    /// In KiB.
    #[xml(attr = "burst")]
    pub burst_kib: Option<u64>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<port isolated='yes'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PortOptions {
    /// Whether it reaches no other isolated port.
    #[xml(attr)]
    pub isolated: Option<YesNo>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<ip address='10.0.0.2' family='ipv4' prefix='24'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct GuestIp {
    /// The address.
    #[xml(attr, required)]
    pub address: String,
    /// `ipv4` or `ipv6`.
    #[xml(attr)]
    pub family: Option<String>,
    /// Length of the prefix.
    #[xml(attr)]
    pub prefix: Option<u8>,
    /// Peer's address.
    #[xml(attr)]
    pub peer: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<script path='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Script {
    /// Its path.
    #[xml(attr, required)]
    pub path: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<target dev='vnet0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct InterfaceTarget {
    /// Name of the host's end.
    #[xml(attr, required)]
    pub dev: String,
    /// Whether the daemon makes it.
    #[xml(attr)]
    pub managed: Option<YesNo>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<model type='virtio'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct InterfaceModel {
    /// `virtio`, `e1000e`, `rtl8139` …
    #[xml(attr = "type", required)]
    pub kind: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<driver name='vhost' queues='2'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct InterfaceDriver {
    /// `vhost` or `qemu`.
    #[xml(attr)]
    pub name: Option<String>,
    /// `iothread` or `timer`.
    #[xml(attr = "txmode")]
    pub tx_mode: Option<String>,
    /// virtio's notification by eventfd.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// virtio's event index.
    #[xml(attr)]
    pub event_idx: Option<OnOff>,
    /// Number of queue pairs.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Length of a receive queue.
    #[xml(attr)]
    pub rx_queue_size: Option<u32>,
    /// Length of a transmit queue.
    #[xml(attr)]
    pub tx_queue_size: Option<u32>,
    /// virtio: whether packets are spread over queues by their hash.
    #[xml(attr)]
    pub rss: Option<OnOff>,
    /// virtio: whether the guest is told the hash.
    #[xml(attr)]
    pub rss_hash_report: Option<OnOff>,
    /// What every virtio device can have.
    #[xml(flatten)]
    pub virtio: VirtioOptions,
    /// What this struct does not know; among it `<host>` and `<guest>` offloads.
    #[xml(foreign, keeps = "host guest @vhost")]
    pub foreign: Foreign,
}

/// `<backend type='passt' tap='/dev/net/tun' vhost='/dev/vhost-net'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct InterfaceBackend {
    /// `passt` or `default`.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// The tap device node.
    #[xml(attr)]
    pub tap: Option<String>,
    /// The vhost device node.
    #[xml(attr)]
    pub vhost: Option<String>,
    /// passt's log.
    #[xml(attr = "logFile")]
    pub log_file: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@hostname @fqdn")]
    pub foreign: Foreign,
}

words! {
    /// Whether a cable is plugged.
    pub enum LinkState { Up = "up", Down = "down" }
}

/// `<link state='down'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Link {
    /// Its state.
    #[xml(attr, required)]
    pub state: LinkState,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<mtu size='1500'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Mtu {
    /// In bytes.
    #[xml(attr = "size", required)]
    pub size_bytes: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
