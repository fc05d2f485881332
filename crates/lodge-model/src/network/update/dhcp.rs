//! `<host>` and `<range>` of a `<dhcp>`.

use super::{BadUpdate, Command, Done, Update, add};
use crate::network::{Dhcp, DhcpHost, DhcpRange, Ip, Network};
use std::net::IpAddr;

/// The `<ip>` that is meant: the one asked for, else the first with DHCP, else the first of IPv4.
fn parent(network: &mut Network, wanted: Option<usize>) -> Result<&mut Ip, BadUpdate> {
    let name = network.name.clone();
    let missing = match wanted {
        Some(index) => format!(
            "couldn't update dhcp host entry - no <ip> element found at index {index} in network '{name}'"
        ),
        None => format!("couldn't update dhcp host entry - no <ip> element found in network '{name}'"),
    };
    let at = wanted.or_else(|| {
        let served = network.ips.iter().position(|ip| ip.dhcp.is_some());
        served.or_else(|| network.ips.iter().position(|ip| ip.address.is_ipv4()))
    });
    at.and_then(|at| network.ips.get_mut(at)).ok_or(BadUpdate::Mismatch(missing))
}

/// Both are there and the same.
fn same<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_some() && one == other
}

/// They do not contradict each other.
fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

pub(super) fn host(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    let entry: DhcpHost = network.entry(update, "host")?;
    let partial = update.command == Command::Delete;
    if entry.ip.is_none() && !partial {
        return Err(BadUpdate::Entry(format!(
            "Missing IP address in static host definition for network '{name}'"
        )));
    }
    if entry.mac.is_none() && entry.name.is_none() && entry.id.is_none() && !(partial && entry.ip.is_some()) {
        return Err(BadUpdate::Entry(format!(
            "At least one of name, mac, or ip attribute must be specified for static host definition in network '{name}'"
        )));
    }
    let ip = parent(network, update.parent)?;
    let mut dhcp = ip.dhcp.take().unwrap_or_default();
    let done = change_hosts(&mut dhcp, entry, update.command, &name);
    ip.dhcp = Some(dhcp).filter(|dhcp| **dhcp != Dhcp::default());
    done
}

fn change_hosts(dhcp: &mut Dhcp, entry: DhcpHost, command: Command, network: &str) -> Done {
    let any = |known: &DhcpHost| {
        same(entry.mac.as_ref(), known.mac.as_ref())
            || same(entry.name.as_ref(), known.name.as_ref())
            || same(entry.ip.as_ref(), known.ip.as_ref())
            || same(entry.id.as_ref(), known.id.as_ref())
    };
    let all = |known: &DhcpHost| {
        agree(entry.mac.as_ref(), known.mac.as_ref())
            && agree(entry.name.as_ref(), known.name.as_ref())
            && agree(entry.ip.as_ref(), known.ip.as_ref())
            && agree(entry.id.as_ref(), known.id.as_ref())
    };
    let told = |value: Option<String>, otherwise: &str| value.unwrap_or_else(|| otherwise.to_owned());
    let mac = told(entry.mac.map(|mac| mac.to_string()), "unknown");
    let address = told(entry.ip.map(|ip| ip.to_string()), "unknown");
    let label = told(entry.name.clone(), "(null)");
    match command {
        Command::Modify => {
            let at = dhcp.hosts.iter().position(any).ok_or_else(|| {
                BadUpdate::Mismatch(format!(
                    "couldn't locate an existing dhcp host entry with \"mac='{mac}'\" \"name='{label}'\" \
                     \"ip='{address}'\" in network '{network}'"
                ))
            })?;
            if let Some(known) = dhcp.hosts.get_mut(at) {
                *known = entry;
            }
        }
        Command::Delete => {
            let at = dhcp.hosts.iter().position(all).ok_or_else(|| {
                BadUpdate::Mismatch(format!(
                    "couldn't locate a matching dhcp host entry in network '{network}'"
                ))
            })?;
            dhcp.hosts.remove(at);
        }
        Command::AddLast | Command::AddFirst => {
            if dhcp.hosts.iter().any(any) {
                return Err(BadUpdate::Mismatch(format!(
                    "there is an existing dhcp host entry in network '{network}' that matches \
                     \"<host mac='{mac}' name='{label}' ip='{address}'/>\""
                )));
            }
            add(&mut dhcp.hosts, command, entry);
        }
    }
    Ok(())
}

pub(super) fn range(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    let entry: DhcpRange = network.entry(update, "range")?;
    let (start, end) = (entry.start, entry.end);
    let ip = parent(network, update.parent)?;
    check(ip, start, end)?;
    let mut dhcp = ip.dhcp.take().unwrap_or_default();
    let at = dhcp.ranges.iter().position(|known| known.start == start && known.end == end);
    let done = match (update.command, at) {
        (Command::Modify, _) => {
            Err(BadUpdate::Unsupported("dhcp ranges cannot be modified, only added or deleted".to_owned()))
        }
        (Command::Delete, Some(at)) => {
            dhcp.ranges.remove(at);
            Ok(())
        }
        (Command::Delete, None) => Err(BadUpdate::Mismatch(format!(
            "couldn't locate a matching dhcp range entry in network '{name}'"
        ))),
        (_, Some(_)) => Err(BadUpdate::Mismatch(format!(
            "there is an existing dhcp range entry in network '{name}' that matches \
             \"<range start='{start}' end='{end}'/>\""
        ))),
        (command, None) => {
            add(&mut dhcp.ranges, command, entry);
            Ok(())
        }
    };
    ip.dhcp = Some(dhcp).filter(|dhcp| **dhcp != Dhcp::default());
    done
}

fn check(ip: &Ip, start: IpAddr, end: IpAddr) -> Done {
    if !ip.contains(start) || !ip.contains(end) {
        return Err(BadUpdate::Range(format!(
            "range {start} - {end} is not entirely within network {}/{}",
            ip.address,
            ip.prefix_length().unwrap_or_default()
        )));
    }
    if start > end {
        return Err(BadUpdate::Range(format!("range {start} - {end} is reversed ")));
    }
    Ok(())
}
