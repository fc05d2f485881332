//! Who answered the host lately, by ARP and by IPv6's neighbour discovery: the kernel's tables of the daemon's own
//! network namespace, where all networks' bridges are.
//!
//! Deliberately absent: asking anybody. What is in the tables was heard.

use std::collections::HashMap;
use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use lodge_model::MacAddr;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use super::{Links, failed};
use crate::NetworkError;

/// More than any host has.
const MOST: usize = 100_000;

/// A machine that the host has talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address in the network.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The host's interface that it is behind.
    pub device: String,
    /// It answered so lately that the kernel does not doubt it.
    pub is_fresh: bool,
}

/// All neighbours, of both kinds.
pub async fn neighbours() -> Result<Vec<Neighbour>, NetworkError> {
    Links::open()?.neighbours().await
}

impl Links {
    async fn neighbours(&self) -> Result<Vec<Neighbour>, NetworkError> {
        let names: HashMap<u32, String> =
            self.all().await?.into_iter().map(|link| (link.index, link.name)).collect();
        // No family is named, so the kernel tells of both.
        let answers = self.handle.neighbours().get().execute().take(MOST);
        let messages: Vec<NeighbourMessage> =
            answers.try_collect().await.map_err(failed("list", "neighbours"))?;
        Ok(messages.iter().filter_map(|message| read(message, &names)).collect())
    }
}

/// What a message says of one machine; none of groups, of those that never answered, and of what has no hardware address.
fn read(message: &NeighbourMessage, names: &HashMap<u32, String>) -> Option<Neighbour> {
    let is_fresh = match message.header.state {
        NeighbourState::Reachable => true,
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe | NeighbourState::Permanent => {
            false
        }
        _ => return None,
    };
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            _ => {}
        }
    }
    let address = address.filter(|address| !address.is_multicast() && !address.is_unspecified())?;
    let mac = mac.filter(|mac| !mac.is_multicast() && mac.0 != [0; 6])?;
    let device = names.get(&message.header.ifindex)?.clone();
    Some(Neighbour { address, mac, device, is_fresh })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    fn message(state: NeighbourState, address: &str, mac: [u8; 6]) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 7;
        message.header.state = state;
        let address = match address.parse().unwrap() {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        };
        message.attributes.push(NeighbourAttribute::Destination(address));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        message
    }

    #[test]
    fn those_that_answered_are_neighbours_by_either_protocol() {
        let names = HashMap::from([(7, "virbr0".to_owned())]);
        let mac = [0x52, 0x54, 0, 0, 0, 7];
        let of = |state, address, mac| read(&message(state, address, mac), &names);
        let one = of(NeighbourState::Reachable, "192.0.2.7", mac).unwrap();
        assert_eq!(
            (one.address.to_string().as_str(), one.mac, one.is_fresh),
            ("192.0.2.7", MacAddr(mac), true)
        );
        let other = of(NeighbourState::Stale, "2001:db8::7", mac).unwrap();
        assert_eq!((other.address.to_string().as_str(), other.device.as_str()), ("2001:db8::7", "virbr0"));
        assert!(!other.is_fresh);
        // Nobody, nobody yet, nobody any more.
        assert_eq!(of(NeighbourState::Noarp, "ff02::1", [0x33, 0x33, 0, 0, 0, 1]), None);
        assert_eq!(of(NeighbourState::Incomplete, "192.0.2.8", [0; 6]), None);
        assert_eq!(of(NeighbourState::Failed, "192.0.2.8", mac), None);
        assert_eq!(of(NeighbourState::Reachable, "192.0.2.8", [0; 6]), None);
        assert_eq!(read(&message(NeighbourState::Reachable, "192.0.2.7", mac), &HashMap::new()), None);
    }
}
