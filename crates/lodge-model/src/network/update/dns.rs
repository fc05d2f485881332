//! `<host>`, `<txt>` and `<srv>` of `<dns>`.

use super::{BadUpdate, Command, Done, Update, add};
use crate::network::{Dns, DnsHost, DnsSrv, DnsTxt, Network};
use crate::xml::{Foreign, Xml};
use std::net::IpAddr;

/// A `<host>` that is to be deleted may have no address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
struct PartHost {
    #[xml(attr)]
    ip: Option<IpAddr>,
    #[xml(leaves = "hostname")]
    hostnames: Vec<String>,
    #[xml(foreign)]
    foreign: Foreign,
}

/// Lets `act` change `<dns>`, which is there only while something is in it.
fn with_dns(network: &mut Network, act: impl FnOnce(&mut Dns) -> Done) -> Done {
    let mut dns = network.dns.take().unwrap_or_default();
    let done = act(&mut dns);
    network.dns = Some(dns).filter(|dns| **dns != Dns::default());
    done
}

pub(super) fn host(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    let entry: PartHost = network.entry(update, "host")?;
    if update.command != Command::Delete && (entry.ip.is_none() || entry.hostnames.is_empty()) {
        return Err(BadUpdate::Entry(format!("Missing ip and hostname in network '{name}' DNS HOST record")));
    }
    with_dns(network, |dns| {
        let matches = |known: &DnsHost| {
            entry.ip == Some(known.ip) || entry.hostnames.iter().any(|name| known.hostnames.contains(name))
        };
        let found: Vec<usize> = (0..dns.hosts.len()).filter(|at| matches(&dns.hosts[*at])).collect();
        match (update.command, found.as_slice()) {
            (command, []) if command.adds() => {}
            (command, _) if command.adds() => {
                return Err(BadUpdate::Mismatch(format!(
                    "there is already at least one DNS HOST record with a matching field in network {name}"
                )));
            }
            (_, []) => {
                return Err(BadUpdate::Mismatch(format!(
                    "couldn't locate a matching DNS HOST record in network {name}"
                )));
            }
            (_, [at]) => drop(dns.hosts.remove(*at)),
            (..) => {
                return Err(BadUpdate::Mismatch(format!(
                    "multiple matching DNS HOST records were found in network {name}"
                )));
            }
        }
        if let (false, Some(ip)) = (update.command == Command::Delete, entry.ip) {
            let made = DnsHost { ip, hostnames: entry.hostnames.clone(), foreign: entry.foreign.clone() };
            let at = found.first().copied();
            match at {
                Some(at) => dns.hosts.insert(at, made),
                None => add(&mut dns.hosts, update.command, made),
            }
        }
        Ok(())
    })
}

pub(super) fn txt(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    let entry: DnsTxt = network.entry(update, "txt")?;
    if update.command != Command::Delete && entry.value.is_none() {
        // libvirt looks for the record first.
        let known = network.dns.iter().flat_map(|dns| &dns.txts).any(|known| known.name == entry.name);
        if known || update.command.adds() {
            return Err(BadUpdate::Entry(format!(
                "missing required value attribute in DNS TXT record named '{}' of network {name}",
                entry.name
            )));
        }
    }
    with_dns(network, |dns| {
        let at = dns.txts.iter().position(|known| known.name == entry.name);
        match (update.command, at) {
            (Command::Delete, Some(at)) => drop(dns.txts.remove(at)),
            (Command::Modify, Some(at)) => {
                if let Some(known) = dns.txts.get_mut(at) {
                    *known = entry;
                }
            }
            (Command::Delete | Command::Modify, None) => {
                return Err(BadUpdate::Mismatch(format!(
                    "couldn't locate a matching DNS TXT record in network {name}"
                )));
            }
            (_, Some(_)) => {
                return Err(BadUpdate::Mismatch(format!(
                    "there is already a DNS TXT record with name '{}' in network {name}",
                    entry.name
                )));
            }
            (command, None) => add(&mut dns.txts, command, entry),
        }
        Ok(())
    })
}

pub(super) fn srv(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    let entry: DnsSrv = network.entry(update, "srv")?;
    if update.command == Command::Modify {
        let text = "DNS SRV records cannot be modified, only added or deleted".to_owned();
        return Err(BadUpdate::Unsupported(text));
    }
    with_dns(network, |dns| {
        let agrees = |known: &DnsSrv| {
            entry.service == known.service
                && entry.protocol == known.protocol
                && (entry.domain.is_none() || entry.domain == known.domain)
                && (entry.target.is_none() || entry.target == known.target)
                && (entry.port.is_none() || entry.port == known.port)
                && (entry.priority.is_none() || entry.priority == known.priority)
                && (entry.weight.is_none() || entry.weight == known.weight)
        };
        let found: Vec<usize> = (0..dns.srvs.len()).filter(|at| agrees(&dns.srvs[*at])).collect();
        match (update.command.adds(), found.as_slice()) {
            (true, []) => add(&mut dns.srvs, update.command, entry),
            (true, _) => {
                return Err(BadUpdate::Mismatch(format!(
                    "there is already at least one DNS SRV record matching all specified fields in network {name}"
                )));
            }
            (false, []) => {
                return Err(BadUpdate::Mismatch(format!(
                    "couldn't locate a matching DNS SRV record in network {name}"
                )));
            }
            (false, [at]) => drop(dns.srvs.remove(*at)),
            (false, _) => {
                return Err(BadUpdate::Mismatch(format!(
                    "multiple DNS SRV records matching all specified fields were found in network {name}"
                )));
            }
        }
        Ok(())
    })
}
