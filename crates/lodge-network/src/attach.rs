//! Plugging a guest's interface into a network or into something else of the host's, and out of it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use lodge_model::domain::interface::{Bandwidth, Vlans};
use lodge_model::nwfilter::Reference;
use lodge_model::{DomainId, MacAddr};

use crate::Scripts;

/// What a guest's interface asks of a network.
#[derive(Debug, Clone)]
pub struct AttachRequest {
    /// The network's name, as `<source network='…'/>` has it.
    pub network: String,
    /// Whose interface it is.
    pub domain: DomainId,
    /// The domain's name; becomes the guest's DNS name.
    pub domain_name: String,
    /// More names the host vouches for (the seed's host name).
    pub hostnames: Vec<String>,
    /// The guest's hardware address.
    pub mac: MacAddr,
    /// `<target dev='…'/>`; a name beginning with `vnet` is not taken as a wish, as in libvirt.
    pub target: Option<String>,
    /// `<mtu size='…'/>`; without it the network's.
    pub mtu: Option<u32>,
    /// How many queues the tap has.
    pub queues: u32,
    /// `<port isolated='yes'/>`: it reaches no other isolated port of the bridge. Without a word the network's holds.
    pub isolated: Option<bool>,
    /// What else is said of the host's end.
    pub options: CardOptions,
}

/// What the host's end of a card is told once it is there.
#[derive(Debug, Clone, Default)]
pub struct CardOptions {
    /// `<bandwidth>`.
    pub bandwidth: Option<Bandwidth>,
    /// `<vlan>`, of a port of a bridge.
    pub vlans: Option<Vlans>,
    /// `<coalesce>`: how many received frames are gathered.
    pub gathered_frames: Option<u32>,
    /// On a network: `<source portgroup='…'/>`.
    pub port_group: Option<String>,
    /// On a network: `<virtualport>`.
    pub virtualport: Option<VirtualPort>,
    /// `<filterref>`.
    pub filter: Option<Reference>,
}

/// `<virtualport>` of an interface, a port group or a network, which count together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VirtualPort {
    /// `openvswitch`, `802.1Qbg` …
    pub kind: Option<String>,
    /// `interfaceid`.
    pub interface: Option<String>,
    /// `profileid`.
    pub profile: Option<String>,
}

/// A tap on the network's bridge. The tap lives as long as a descriptor of it is open.
#[derive(Debug)]
pub struct Attached {
    /// The tap's queues, opened with `IFF_VNET_HDR`, close-on-exec; for QEMU's `-netdev tap,fd=`.
    pub taps: Vec<OwnedFd>,
    /// Its name on the host.
    pub ifname: String,
    /// The bridge it is on.
    pub bridge: String,
}

/// What a guest's interface asks that is on no network of ours.
#[derive(Debug, Clone)]
pub struct CardRequest {
    /// Whose interface it is.
    pub domain: DomainId,
    /// The domain's name.
    pub domain_name: String,
    /// The guest's hardware address.
    pub mac: MacAddr,
    /// `<target dev='…'/>`; a name that is the daemon's to give is not taken as a wish, as in libvirt.
    pub target: Option<String>,
    /// `<mtu size='…'/>`.
    pub mtu: Option<u32>,
    /// How many queues it has.
    pub queues: u32,
    /// What else is said of the host's end.
    pub options: CardOptions,
    /// Where it leads.
    pub end: CardEnd,
}

/// Where a card leads that is on no network of ours.
#[derive(Debug, Clone)]
pub enum CardEnd {
    /// Onto a bridge that somebody else made.
    Bridge {
        /// Its name.
        name: String,
        /// `<port isolated='yes'/>`.
        isolated: bool,
    },
    /// Onto a bridge of Open vSwitch's.
    OpenVswitch(SwitchPort),
    /// To a tap and no further: the host itself is its other end.
    Alone {
        /// Addresses of the host's end, with the lengths of their prefixes.
        addresses: Vec<(IpAddr, u8)>,
        /// Programs that make it ready and clear away.
        scripts: Scripts,
    },
    /// To the tap or macvtap `target` that somebody else made and keeps (`managed='no'`).
    Made {
        /// Programs that make it ready and clear away.
        scripts: Scripts,
    },
    /// Straight to an interface of the host's, by a macvtap.
    Direct {
        /// That interface.
        dev: String,
        /// How macvtaps of one interface reach each other.
        mode: DirectMode,
    },
}

/// `<virtualport type='openvswitch'>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchPort {
    /// The bridge's name.
    pub bridge: String,
    /// `interfaceid`: what the switch's controller knows the card by.
    pub interface: String,
    /// `profileid`.
    pub profile: Option<String>,
}

/// `<source mode='…'/>` of `type='direct'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectMode {
    /// By the switch beyond the interface.
    Vepa,
    /// In the host.
    Bridge,
    /// Not at all.
    Private,
    /// There is one only, and it has the interface for itself.
    Passthrough,
}

/// A card that was plugged in.
#[derive(Debug)]
pub struct PluggedCard {
    /// Its queues, as those of [`Attached`].
    pub taps: Vec<OwnedFd>,
    /// Its name on the host.
    pub ifname: String,
}

/// What the host's end of a card is to let through for its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The guest's address.
    pub mac: MacAddr,
    /// All that there is.
    pub promiscuous: bool,
    /// All groups.
    pub all_multicast: bool,
    /// These groups.
    pub multicast: Vec<MacAddr>,
}
