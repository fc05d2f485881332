//! Virtual networks: bridges, leases, names, firewall, and netd.
//!
//! ```text
//!   engine ──▶ Networks (handle) ──▶ owner task ──▶ rtnetlink · nft · spawn netd
//!                  │ snapshots            ▲
//!                  ▼                      │ control socket: leases, names, events
//!             NetworkView               netd (one process per running network: DHCP, DNS)
//! ```
//!
//! A network's document is libvirt's; `plan` judges it once and says what is to be made. Starting is a
//! sequence with undo (`owner`); the firewall is a standing wish (`firewall`, reconciled). What
//! runs is read from the host: the bridge's `ifalias` says whose it is, and netd answers on its socket.
//!
//! Deliberately absent: iptables, dnsmasq, and any `unsafe` (taps and packet sockets are `lodge_sys`'s).

mod attach;
mod change;
mod client;
mod conflict;
mod error;
mod filter;
mod firewall;
mod launch;
pub mod libvirt;
mod limit;
mod limits;
mod link;
mod mark;
pub mod netd;
mod networks;
mod ovs;
mod owner;
mod plan;
mod pool;
mod port;
mod script;
mod upstream;
mod view;
mod wire;

pub use attach::{
    AttachRequest, Attached, CardEnd, CardOptions, CardRequest, DirectMode, Listening, PluggedCard,
    SwitchPort, VirtualPort,
};
pub use change::{Affects, MetadataChange, MetadataPart};
pub use error::NetworkError;
pub use filter::{Bind, Filter, FilterError, NetworkFilters};
pub use link::{Neighbour, neighbours};
pub use networks::{NetdProgram, NetworkHappening, Networks, NetworksConfig};
pub use pool::FunctionPool;
pub use script::Scripts;
pub use view::{Lease, NetworkEvent, NetworkView, Nic, Started, TakenNetwork};

/// What the fuzzers call: each takes any bytes and panics only where the parser is wrong.
pub mod fuzz {
    pub use crate::netd::dhcp::fuzz as dhcp_packet;
    pub use crate::netd::dns::fuzz as dns_packet;
    pub use crate::netd::journal::fuzz as journal;

    /// A line on netd's control socket.
    pub fn control_line(line: &[u8]) {
        if let Ok(request) = crate::wire::parse_request(line) {
            let text = serde_json::to_vec(&request).expect("requests are plain data");
            assert_eq!(crate::wire::parse_request(&text), Ok(request));
        }
    }
}
