//! The kernel's interfaces, addresses and routes, by netlink. One method per act, errors with the subject.
//!
//! A connection belongs to the network namespace it was opened in; so does everything it makes.

mod direct;
mod mark;
mod neighbour;
mod vlan;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use lodge_model::MacAddr;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, LinkBridge, LinkUnspec};

use crate::NetworkError;

pub use neighbour::{Neighbour, neighbours};

/// Clock ticks per second in the kernel's bridge attributes.
const USER_HZ: u32 = 100;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alias: where ours say whose they are.
    pub alias: Option<String>,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// The bridge it is on.
    pub controller: Option<u32>,
    /// Is it a bridge?
    pub is_bridge: bool,
    /// Is it a macvtap?
    pub is_macvtap: bool,
    /// Is it up?
    pub up: bool,
    /// Of a bridge that filters VLANs: the one that it puts a new port into; 0: none.
    pub first_vlan: Option<u16>,
}

/// How a bridge is to be.
#[derive(Debug)]
pub struct BridgeSpec<'s> {
    /// Its name.
    pub name: &'s str,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Spanning tree.
    pub stp: bool,
    /// Forward delay in seconds; with spanning tree the kernel makes less than 2 into 2.
    pub delay_s: u32,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Whose it is.
    pub alias: &'s str,
}

/// A hold on the kernel's tables of one network namespace.
#[derive(Debug, Clone)]
pub struct Links {
    handle: Handle,
}

impl Links {
    /// Connects; the task that carries messages ends with the last clone.
    pub fn open() -> Result<Self, NetworkError> {
        let failed =
            |source| NetworkError::Link { act: "ask the kernel about", subject: "interfaces".into(), source };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All interfaces.
    pub async fn all(&self) -> Result<Vec<Link>, NetworkError> {
        let messages: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(failed("list", "interfaces"))?;
        Ok(messages.iter().map(read_link).collect())
    }

    /// One interface by name.
    pub async fn find(&self, name: &str) -> Result<Option<Link>, NetworkError> {
        let mut answer = self.handle.link().get().match_name(name.to_owned()).execute();
        match answer.try_next().await {
            Ok(message) => Ok(message.as_ref().map(read_link)),
            Err(error) if raw(&error) == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(failed("look up", name)(error)),
        }
    }

    /// Addresses of all interfaces, with the interface's number.
    pub async fn addresses(&self) -> Result<Vec<(u32, IpNet)>, NetworkError> {
        let messages: Vec<_> =
            self.handle.address().get().execute().try_collect().await.map_err(failed("list", "addresses"))?;
        Ok(messages
            .iter()
            .filter_map(|message| {
                let ip = message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Local(ip) => Some(*ip),
                    _ => None,
                });
                let remote = message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(ip) => Some(*ip),
                    _ => None,
                });
                let net = IpNet::new(ip.or(remote)?, message.header.prefix_len).ok()?;
                Some((message.header.index, net))
            })
            .collect())
    }

    /// Routes over an interface, all tables but the kernel's own of local addresses; no default routes.
    pub async fn routes(&self) -> Result<Vec<(u32, IpNet)>, NetworkError> {
        let mut found = Vec::new();
        let families = [RouteMessage::default(), RouteMessage::default()];
        let kinds =
            [rtnetlink::packet_route::AddressFamily::Inet, rtnetlink::packet_route::AddressFamily::Inet6];
        for (mut message, family) in families.into_iter().zip(kinds) {
            message.header.address_family = family;
            let messages: Vec<RouteMessage> = self
                .handle
                .route()
                .get(message)
                .execute()
                .try_collect()
                .await
                .map_err(failed("list", "routes"))?;
            found.extend(messages.iter().filter_map(read_route));
        }
        Ok(found)
    }

    /// Makes a bridge, down, marked as ours. Returns its number.
    pub async fn create_bridge(&self, spec: &BridgeSpec<'_>) -> Result<u32, NetworkError> {
        // In this order: the kernel refuses a delay below 2 s once spanning tree is on.
        let stp = if spec.stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
        let mut builder = LinkBridge::new(spec.name).forward_delay(spec.delay_s * USER_HZ).stp_state(stp);
        if let Some(mac) = spec.mac {
            builder = builder.address(mac.0.to_vec());
        }
        if let Some(mtu) = spec.mtu {
            builder = builder.mtu(mtu);
        }
        let made = self.handle.link().add(builder.build()).execute().await;
        made.map_err(failed("create bridge", spec.name))?;
        let link = self.find(spec.name).await?.ok_or_else(|| gone("find the new bridge", spec.name))?;
        // A new link takes no alias; the mark is set at once after.
        let marked = LinkUnspec::new_with_index(link.index).alias(spec.alias).build();
        if let Err(error) = self.handle.link().change(marked).execute().await {
            let _ = self.delete(link.index, spec.name).await;
            return Err(failed("mark bridge", spec.name)(error));
        }
        Ok(link.index)
    }

    /// Gives an interface an address.
    pub async fn add_address(&self, index: u32, name: &str, net: IpNet) -> Result<(), NetworkError> {
        let mut request = self.handle.address().add(index, net.addr(), net.prefix_len());
        if net.addr().is_ipv6() {
            // Nobody else is on a new bridge: no waiting for duplicates.
            request.message_mut().header.flags |= rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
        }
        request.execute().await.map_err(failed("give an address to", name))
    }

    /// Switches an interface on.
    pub async fn set_up(&self, index: u32, name: &str) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().change(message).execute().await.map_err(failed("bring up", name))
    }

    /// Puts a tap on a bridge, marked and up.
    pub async fn plug(
        &self,
        tap: &Link,
        bridge: u32,
        alias: &str,
        mac: MacAddr,
        mtu: Option<u32>,
    ) -> Result<(), NetworkError> {
        let mut builder = LinkUnspec::new_with_index(tap.index)
            .address(mac.0.to_vec())
            .controller(bridge)
            .alias(alias)
            .up();
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        let request = self.handle.link().change(builder.build());
        request.execute().await.map_err(failed("plug into its bridge", &tap.name))
    }

    /// Removes an interface. Done already if it is gone.
    pub async fn delete(&self, index: u32, name: &str) -> Result<(), NetworkError> {
        match self.handle.link().del(index).execute().await {
            Err(error) if raw(&error) == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(()),
            result => result.map_err(failed("remove", name)),
        }
    }
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        mac: None,
        controller: None,
        is_bridge: false,
        is_macvtap: false,
        up: message.header.flags.contains(LinkFlags::Up),
        first_vlan: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => {
                link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                let is = |kind: &InfoKind| {
                    infos.iter().any(|info| matches!(info, LinkInfo::Kind(known) if known == kind))
                };
                link.first_vlan = infos.iter().find_map(first_vlan);
                (link.is_bridge, link.is_macvtap) = (is(&InfoKind::Bridge), is(&InfoKind::MacVtap));
            }
            _ => {}
        }
    }
    link
}

fn first_vlan(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Bridge(facts)) = info else { return None };
    let filters = facts.iter().any(|fact| matches!(fact, InfoBridge::VlanFiltering(true)));
    let first = facts.iter().find_map(|fact| match fact {
        InfoBridge::VlanDefaultPvid(first) => Some(*first),
        _ => None,
    });
    filters.then_some(first.unwrap_or(1))
}

fn read_route(message: &RouteMessage) -> Option<(u32, IpNet)> {
    const LOCAL_TABLE: u8 = 255;
    if message.header.table == LOCAL_TABLE || message.header.destination_prefix_length == 0 {
        return None;
    }
    let mut interface = None;
    let mut destination = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::V4(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::V6(*ip)),
            _ => {}
        }
    }
    let destination = destination.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Some((interface?, IpNet::new(destination, message.header.destination_prefix_length).ok()?))
}

fn raw(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| -code.get()),
        _ => None,
    }
}

fn failed<'s>(act: &'static str, subject: &'s str) -> impl FnOnce(rtnetlink::Error) -> NetworkError + 's {
    move |error| {
        let source =
            raw(&error).map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
        if source.kind() == io::ErrorKind::PermissionDenied {
            return NetworkError::NotPermitted { what: format!("{act} `{subject}`"), source };
        }
        NetworkError::Link { act, subject: subject.to_owned(), source }
    }
}

pub(crate) fn gone(act: &'static str, subject: &str) -> NetworkError {
    NetworkError::Link { act, subject: subject.to_owned(), source: io::Error::from(io::ErrorKind::NotFound) }
}
