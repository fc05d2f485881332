//! Networks for real, in network namespaces of their own: bridges, rules, netd, and guests played by other
//! namespaces with busybox's DHCP client. Needs root, iproute2, nftables, busybox and dig; says what it skips.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "netns/card.rs"]
mod card;
#[path = "netns/change.rs"]
mod change;
#[path = "netns/conflict.rs"]
mod conflict;
#[path = "netns/filter.rs"]
mod filter;
#[path = "netns/firewall.rs"]
mod firewall;
#[path = "netns/guest.rs"]
mod guest;
#[path = "netns/life.rs"]
mod life;
#[path = "netns/limits.rs"]
mod limits;
#[path = "netns/options.rs"]
mod options;
#[path = "netns/serve.rs"]
mod serve;
#[path = "netns/space.rs"]
mod space;
#[path = "netns/spoof.rs"]
mod spoof;
#[path = "netns/tap.rs"]
mod tap;
