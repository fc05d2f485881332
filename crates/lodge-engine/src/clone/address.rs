//! Addresses of the network that clones get: `NIC=ADDRESS/PREFIX[,ROUTER]`, a range for many, or `dhcp`. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lodge_api::CloneSpec;
use lodge_identity::{Address, StaticAddress};
use lodge_model::{Kind, MacAddr};

use super::source::Source;
use crate::{
    Engine,
    error::{EngineError, Result},
    identity::inside::{Card, CardAddress},
    seed,
};

/// One wish as it was written.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    nic: String,
    value: Value,
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Dhcp,
    Fixed { first: IpAddr, last: IpAddr, prefix: u8, router: Option<IpAddr> },
}

impl Engine {
    /// The addresses of each of `count` clones.
    pub(super) fn new_addresses(
        &self,
        source: &Source,
        spec: &CloneSpec,
        count: usize,
    ) -> Result<Vec<Vec<CardAddress>>> {
        if spec.addresses.is_empty() {
            return Ok(vec![Vec::new(); count]);
        }
        if spec.keep_identity {
            return Err(invalid("an address is given, and the identity is to be kept"));
        }
        if spec.preserve_data {
            return Err(invalid("an address is given, and the disks are to be taken as they are"));
        }
        let seeded =
            source.guest.map(|guest| seed::asked_of(self.store.root(), guest)).transpose()?.flatten();
        if seeded.is_some() {
            let text = format!(
                "`{}` has a cloud-init seed, which has each interface ask DHCP at the clone's first boot",
                source.said()
            );
            return Err(EngineError::new(Kind::Unsupported, text).with_hint(
                "reserve the address in the network (<host mac='…' ip='…'/>), or say it in the seed's user-data",
            ));
        }
        let macs: Vec<Option<MacAddr>> = source
            .document
            .devices
            .interfaces
            .iter()
            .map(lodge_model::domain::interface::Interface::mac)
            .collect();
        of_each(&spec.addresses, &macs, count)
    }
}

/// The wishes for each clone.
fn of_each(texts: &[String], macs: &[Option<MacAddr>], count: usize) -> Result<Vec<Vec<CardAddress>>> {
    let mut wishes: Vec<(Card, Value)> = Vec::new();
    for text in texts {
        let Wanted { nic, value } = parse(text)?;
        let card = card(&nic, macs)?;
        if wishes.iter().any(|(known, _)| *known == card) {
            return Err(invalid(format!("interface `{nic}` is given two addresses")));
        }
        if let Value::Fixed { first, last, .. } = &value {
            enough(text, *first, *last, count)?;
        }
        wishes.push((card, value));
    }
    let of = |number: usize| {
        let one =
            |(card, value): &(Card, Value)| CardAddress { card: card.clone(), address: nth(value, number) };
        wishes.iter().map(one).collect()
    };
    Ok((0..count).map(of).collect())
}

fn nth(value: &Value, number: usize) -> Address {
    match value {
        Value::Dhcp => Address::Dhcp,
        Value::Fixed { first, prefix, router, .. } => Address::Static(StaticAddress {
            address: advanced(*first, number as u128),
            prefix: *prefix,
            gateway: *router,
        }),
    }
}

/// One address cannot be of many machines.
fn enough(text: &str, first: IpAddr, last: IpAddr, count: usize) -> Result<()> {
    let there = number(last) - number(first) + 1;
    if there >= count as u128 {
        return Ok(());
    }
    let fault = format!("`{text}` has {there} addresses, and {count} clones are asked for");
    Err(EngineError::new(Kind::InvalidInput, fault).with_hint("give a range, FIRST-LAST/PREFIX, or `dhcp`"))
}

fn card(nic: &str, macs: &[Option<MacAddr>]) -> Result<Card> {
    if let Ok(number) = nic.parse::<usize>() {
        let mac = macs.get(number).ok_or_else(|| {
            invalid(format!("there is no interface {number}: the source has {}, counted from 0", macs.len()))
        })?;
        return mac.map(Card::Mac).ok_or_else(|| {
            invalid(format!(
                "interface {number} has no hardware address of its own; name it as the guest does"
            ))
        });
    }
    if let Ok(mac) = nic.parse::<MacAddr>() {
        if macs.contains(&Some(mac)) {
            return Ok(Card::Mac(mac));
        }
        return Err(invalid(format!("no interface of the source has the address {mac}")));
    }
    // Linux takes no longer one, and none with these (`dev_valid_name`).
    let is_name = (1..=15).contains(&nic.len())
        && nic.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if is_name {
        return Ok(Card::Name(nic.to_owned()));
    }
    Err(invalid(format!("`{}` is no number, hardware address or name of an interface", nic.escape_debug())))
}

fn parse(text: &str) -> Result<Wanted> {
    let fault = |why: &str| {
        invalid(format!("`{}` is no address for an interface: {why}", text.escape_debug()))
            .with_hint("--address NIC=192.0.2.10/24,192.0.2.1 or NIC=192.0.2.10-192.0.2.19/24 or NIC=dhcp")
    };
    let (nic, value) = text.split_once('=').ok_or_else(|| fault("it must be NIC=ADDRESS/PREFIX"))?;
    let nic = nic.to_owned();
    if value.eq_ignore_ascii_case("dhcp") {
        return Ok(Wanted { nic, value: Value::Dhcp });
    }
    let (range, router) =
        value.split_once(',').map_or((value, None), |(range, router)| (range, Some(router)));
    let (range, prefix) = range.split_once('/').ok_or_else(|| fault("the prefix is missing"))?;
    let address = |text: &str| {
        text.parse::<IpAddr>().map_err(|_| fault(&format!("`{}` is no address", text.escape_debug())))
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (address(first)?, address(last)?);
    let router = router.map(|text| address(text.strip_prefix("gw=").unwrap_or(text))).transpose()?;
    let bits: u8 = if first.is_ipv4() { 32 } else { 128 };
    let prefix: u8 = prefix.parse().map_err(|_| fault("the prefix is no number"))?;
    if !(1..=bits).contains(&prefix) {
        return Err(fault(&format!("the prefix is from 1 to {bits}")));
    }
    let network = |ip: IpAddr| number(ip) >> (bits - prefix);
    let is_near = |ip: IpAddr| ip.is_ipv4() == first.is_ipv4() && network(ip) == network(first);
    if !is_near(last) || last < first {
        return Err(fault("the last address must follow the first in the same network"));
    }
    if let Some(router) = router.filter(|router| !is_near(*router) && !is_link_local(*router)) {
        return Err(fault(&format!("the router {router} is not in its network")));
    }
    for ip in [first, last] {
        if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() {
            return Err(fault(&format!("{ip} is no machine's address")));
        }
        let hosts = (1_u128 << (bits - prefix)) - 1;
        let host = number(ip) & hosts;
        if ip.is_ipv4() && prefix < 31 && (host == 0 || host == hosts) {
            return Err(fault(&format!("{ip} is the network's own address, or that of all in it")));
        }
    }
    Ok(Wanted { nic, value: Value::Fixed { first, last, prefix, router } })
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address so many further. Within a range that was judged before.
fn advanced(ip: IpAddr, by: u128) -> IpAddr {
    let sum = number(ip).saturating_add(by);
    match ip {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(sum).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(sum).into(),
    }
}

fn invalid(text: impl Into<String>) -> EngineError {
    EngineError::new(Kind::InvalidInput, text.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

    fn shown(texts: &[&str], count: usize) -> std::result::Result<Vec<String>, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let each = of_each(&texts, &[Some(MAC), None], count).map_err(|error| error.to_string())?;
        let one = |wanted: &CardAddress| match &wanted.address {
            Address::Static(fixed) => {
                format!("{:?} {}/{} {:?}", wanted.card, fixed.address, fixed.prefix, fixed.gateway)
            }
            other => format!("{:?} {other:?}", wanted.card),
        };
        Ok(each.iter().map(|cards| cards.iter().map(one).collect::<Vec<_>>().join("; ")).collect())
    }

    #[test]
    fn each_clone_gets_its_own() {
        let mac = format!("Mac({MAC:?})");
        assert_eq!(shown(&["0=192.0.2.10/24"], 1).unwrap(), [format!("{mac} 192.0.2.10/24 None")]);
        assert_eq!(
            shown(&["0=192.0.2.254-192.0.3.9/23,192.0.2.1", "eth1=dhcp"], 2).unwrap(),
            [
                format!("{mac} 192.0.2.254/23 Some(192.0.2.1); Name(\"eth1\") Dhcp"),
                format!("{mac} 192.0.2.255/23 Some(192.0.2.1); Name(\"eth1\") Dhcp"),
            ]
        );
        assert_eq!(
            shown(&["52:54:00:00:00:01=2001:db8::f/64,gw=fe80::1"], 1).unwrap(),
            [format!("{mac} 2001:db8::f/64 Some(fe80::1)")]
        );
        assert_eq!(shown(&["0=dhcp"], 3).unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let table: &[(&[&str], usize, &str)] = &[
            (&["0=192.0.2.10/24"], 2, "has 1 addresses, and 2 clones"),
            (&["192.0.2.10/24"], 1, "it must be NIC=ADDRESS/PREFIX"),
            (&["0=192.0.2.10"], 1, "the prefix is missing"),
            (&["0=192.0.2.10/33"], 1, "the prefix is from 1 to 32"),
            (&["0=192.0.2.0/24"], 1, "the network's own address"),
            (&["0=192.0.2.255/24"], 1, "the network's own address"),
            (&["0=192.0.2.9-192.0.2.3/24"], 1, "must follow the first"),
            (&["0=192.0.2.9-192.0.3.3/24"], 1, "must follow the first"),
            (&["0=192.0.2.9/24,198.51.100.1"], 1, "the router 198.51.100.1 is not in its network"),
            (&["0=127.0.0.1/8"], 1, "127.0.0.1 is no machine's address"),
            (&["0=x/8"], 1, "`x` is no address"),
            (&["2=192.0.2.10/24"], 1, "there is no interface 2: the source has 2"),
            (&["1=192.0.2.10/24"], 1, "has no hardware address of its own"),
            (&["52:54:00:00:00:09=dhcp"], 1, "no interface of the source has"),
            (&["a b=dhcp"], 1, "is no number"),
            (&["0=dhcp", "52:54:00:00:00:01=192.0.2.10/24"], 1, "is given two addresses"),
        ];
        for (texts, count, want) in table {
            let fault = shown(texts, *count).unwrap_err();
            assert!(fault.contains(want), "{texts:?}: {fault}");
        }
    }
}
