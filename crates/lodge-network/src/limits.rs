//! Bounds of this crate, in one place.

use std::time::Duration;

/// Most networks of one root.
pub const NETWORKS_MAX: usize = 512;
/// Most addresses in the ranges of one network.
pub const ADDRESSES_MAX: u64 = 1 << 20;
/// Most fixed hosts in one document.
pub const HOSTS_MAX: usize = 65_536;
/// Requests waiting for the owner task.
pub const REQUESTS_MAX: usize = 256;
/// Events kept for a slow subscriber.
pub const EVENTS_KEPT: usize = 1_024;
/// How long netd may take for one answer.
pub const NETD_ANSWER: Duration = Duration::from_secs(3);
/// How long netd may take from its start to its first answer. Its journal may be long and the disk slow.
pub const NETD_START: Duration = Duration::from_secs(15);
/// How long a netd whose socket broke may take to be seen as ended.
pub const NETD_LAST_WORDS: Duration = Duration::from_secs(1);
/// How long netd may take to end when asked.
pub const NETD_END: Duration = Duration::from_secs(2);
/// How long one run of nft may take.
pub const NFT_RUN: Duration = Duration::from_secs(20);
/// How long a guest's end waits for its cards: less than for all that it has of the host.
pub const UNPLUG: Duration = Duration::from_secs(50);
/// How often rules are looked after.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(20);
/// How often the host's name servers are read again.
pub const UPSTREAMS_EVERY: Duration = Duration::from_secs(5);
/// Longest pause before a netd that keeps ending is started again.
pub const NETD_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A lease where the document does not say: libvirt's hour.
pub const LEASE_DEFAULT_S: u32 = 3_600;
