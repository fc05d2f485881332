//! Plugging a guest's interface into a network, and out of it.

use std::os::fd::OwnedFd;

use lodge_model::{DomainId, MacAddr};

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
}

/// A tap on the network's bridge. The tap lives as long as a descriptor of it is open.
#[derive(Debug)]
pub struct Attached {
    /// The tap, opened with `IFF_VNET_HDR`, close-on-exec; for QEMU's `-netdev tap,fd=`.
    pub tap: OwnedFd,
    /// Its name on the host.
    pub ifname: String,
    /// The bridge it is on.
    pub bridge: String,
}
