//! What others see of networks: snapshots, leases and events. Plain values, no handles.

use std::net::{IpAddr, Ipv4Addr};

use lodge_model::{DomainId, MacAddr, NetworkId};
use serde::{Deserialize, Serialize};

use crate::FunctionPool;

/// One network as it was when the snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// The network's UUID.
    pub id: NetworkId,
    /// Its name, as in the document.
    pub name: String,
    /// Whether its bridge is up and served.
    pub active: bool,
    /// Whether a definition is kept in a file.
    pub persistent: bool,
    /// Whether the daemon starts it when it starts itself.
    pub autostart: bool,
    /// libvirt's word for how it reaches the world: `nat`, `route`, `isolated`, `bridge`.
    pub mode: String,
    /// The bridge's name; empty while no name is chosen yet.
    pub bridge: String,
    /// The bridge's IPv4 addresses with prefix (`192.168.122.1/24`).
    pub addresses: Vec<String>,
    /// The DNS domain of the guests, if the document gives one.
    pub domain: Option<String>,
    /// What it lends, if it is a pool of virtual functions.
    pub functions: Option<FunctionPool>,
    /// Interfaces of guests attached now.
    pub nics: Vec<Nic>,
}

/// A guest's interface on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The tap's name on the host (`vnet0`).
    pub ifname: String,
    /// Whose it is.
    pub domain: DomainId,
    /// The domain's name.
    pub domain_name: String,
    /// The guest's side hardware address.
    pub mac: MacAddr,
}

impl Nic {
    /// The identity of its port of a network: always the same for the same guest's interface.
    pub fn port(&self, network: NetworkId) -> uuid::Uuid {
        let (one, other) = (network.0.as_u128(), self.domain.0.as_u128());
        let mut bytes = (one ^ other.rotate_left(29)).to_be_bytes();
        for (to, from) in bytes.iter_mut().zip(self.mac.0) {
            *to ^= from;
        }
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// An address given to a guest by netd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The guest's hardware address.
    pub mac: MacAddr,
    /// The address.
    pub ip: Ipv4Addr,
    /// The network's prefix length, as `virsh net-dhcp-leases` shows it.
    pub prefix: u8,
    /// End of the lease, seconds since 1970; 0 = never ends.
    pub expires: u64,
    /// The name the guest is known by, if any.
    pub hostname: Option<String>,
    /// The DHCP client identifier in libvirt's spelling (`ff:…`), if the guest sent one.
    pub client_id: Option<String>,
}

/// What starting a network changed beyond the network itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// False: it was running already, nothing was done.
    pub changed: bool,
    /// Sentences for the user, e.g. that IPv4 forwarding was switched on.
    pub notes: Vec<String>,
}

/// Something happened to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum NetworkEvent {
    /// A definition was made or replaced.
    Defined,
    /// The definition is gone.
    Undefined,
    /// It is up.
    Started,
    /// It is down.
    Stopped,
    /// Title, description or metadata changed.
    MetadataChanged {
        /// libvirt's number of the sort: 0 description, 1 title, 2 an element.
        part: i32,
        /// The element's namespace.
        uri: Option<String>,
    },
    /// A guest got, kept or changed its address.
    Lease {
        /// The guest's hardware address.
        mac: String,
        /// The address.
        ip: IpAddr,
        /// Its name, if known.
        hostname: Option<String>,
    },
    /// A lease ended: expired, released or declined.
    LeaseEnded {
        /// The guest's hardware address.
        mac: String,
        /// The address.
        ip: IpAddr,
    },
    /// A guest asked for an address and none is left.
    Exhausted {
        /// The guest's hardware address.
        mac: String,
    },
    /// netd ended unasked and was started again.
    NetdRestarted,
    /// Rules of ours were missing and were put back.
    FirewallRepaired,
}

/// A network of libvirt's that was taken over, or was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenNetwork {
    /// Its name.
    pub name: String,
    /// Why not; such a network runs on as libvirt left it.
    pub error: Option<String>,
}
