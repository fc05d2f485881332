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
//! sequence with undo (`start`); the firewall is a standing wish (`firewall`, reconciled). What
//! runs is read from the host: the bridge's `ifalias` says whose it is, and netd answers on its socket.
//!
//! Deliberately absent: iptables, dnsmasq, and any `unsafe` (taps and packet sockets are `lodge_sys`'s).

mod attach;
mod error;
pub mod netd;
mod networks;
mod view;
mod wire;

pub use attach::{AttachRequest, Attached};
pub use error::NetworkError;
pub use networks::{NetdProgram, Networks, NetworksConfig};
pub use view::{Lease, NetworkEvent, NetworkView, Nic, Started};
