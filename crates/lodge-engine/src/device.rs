//! What is told of a domain's devices: addresses, disks, cards, console, logs.

use std::{collections::BTreeMap, path::Path};

use lodge_api::{
    Address, AddressFamily, AddressSource, BlockView, InterfaceAddresses, LogKind, LogQuery, NicView,
};
use lodge_domain::Handle;
use lodge_model::{
    Kind, MacAddr,
    domain::{
        disk::{Disk, SourceKind},
        interface::Interface,
    },
};
use lodge_qemu::agent::{GuestAddress, GuestInterface};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// Lines of a log that are given unless more are asked for.
const LOG_LINES: u32 = 200;
/// How long an agent on bare hardware may take to answer.
const AGENT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// Bytes of a log that are read at most; the guest writes it, so it has no bound of its own.
const LOG_BYTES: u64 = 4 << 20;

impl Engine {
    /// A domain's addresses, as one source knows them.
    #[crate::boxed]
    pub async fn domain_interfaces(
        &self,
        _caller: &Caller,
        dom: &str,
        source: AddressSource,
    ) -> Result<Vec<InterfaceAddresses>> {
        let handle = self.find_domain(dom)?;
        match source {
            AddressSource::Lease => self.leased(&handle).await,
            AddressSource::Agent => self.told_by_agent(&handle).await,
            AddressSource::Arp => arp(&handle),
        }
    }

    /// What netd leased to the domain's cards.
    pub(crate) async fn leased(&self, handle: &Handle) -> Result<Vec<InterfaceAddresses>> {
        let mut interfaces = Vec::new();
        for (name, mac) in cards(handle)? {
            let address = |lease: lodge_network::Lease| Address {
                family: AddressFamily::Ipv4,
                ip: lease.ip.to_string(),
                prefix: lease.prefix,
            };
            let addresses: Vec<Address> =
                self.networks.addresses(mac).await.into_iter().map(address).collect();
            if !addresses.is_empty() {
                interfaces.push(InterfaceAddresses { name, mac: Some(mac.to_string()), addresses });
            }
        }
        Ok(interfaces)
    }

    async fn told_by_agent(&self, handle: &Handle) -> Result<Vec<InterfaceAddresses>> {
        let agent = self.followers.agent(handle.id()).ok_or_else(|| {
            EngineError::new(Kind::Unavailable, "the guest agent is not connected").with_hint(
                "the guest needs the channel org.qemu.guest_agent.0 and a running qemu-guest-agent",
            )
        })?;
        let interfaces = agent.interfaces(self.accelerator.speed.scale(AGENT_PATIENCE)).await?;
        Ok(interfaces.into_iter().map(agent_interface).collect())
    }

    /// A domain's disks: of what runs, or of its definition.
    #[crate::boxed]
    pub async fn domain_blocks(&self, _caller: &Caller, dom: &str) -> Result<Vec<BlockView>> {
        let document = self.find_domain(dom)?.document()?;
        Ok(document.devices.disks.iter().map(block).collect())
    }

    /// A domain's network cards.
    #[crate::boxed]
    pub async fn domain_nics(&self, _caller: &Caller, dom: &str) -> Result<Vec<NicView>> {
        let handle = self.find_domain(dom)?;
        let active = handle.snapshot().is_active();
        let document = handle.document()?;
        Ok(document.devices.interfaces.iter().map(|interface| nic(interface, active)).collect())
    }

    /// A domain's log.
    #[crate::boxed]
    pub async fn domain_log(&self, _caller: &Caller, dom: &str, query: LogQuery) -> Result<String> {
        let handle = self.find_domain(dom)?;
        let guest = self.store.root().guest(handle.id().0);
        let path = match query.which {
            LogKind::Qemu => guest.join("qemu.log"),
            LogKind::Console => guest.join("console.log"),
        };
        tail(&path, query.tail.unwrap_or(LOG_LINES)).map_err(|error| {
            EngineError::new(Kind::NotFound, format!("the log `{}` cannot be read: {error}", path.display()))
                .with_hint("a domain has these logs while it runs")
        })
    }
}

/// The host's names and the addresses of a running domain's cards.
fn cards(handle: &Handle) -> Result<Vec<(String, MacAddr)>> {
    if !handle.snapshot().is_active() {
        return Err(EngineError::new(Kind::InvalidState, "domain is not running"));
    }
    let document = handle.document()?;
    let card = |card: &Interface| Some((host_name(card).unwrap_or("-").to_owned(), card.mac()?));
    Ok(document.devices.interfaces.iter().filter_map(card).collect())
}

/// The tap's name, in a live document.
fn host_name(card: &Interface) -> Option<&str> {
    card.target.as_ref().map(|target| target.dev.as_str())
}

fn block(disk: &Disk) -> BlockView {
    BlockView {
        kind: disk.kind.as_str().to_owned(),
        device: disk.device.as_str().to_owned(),
        target: disk.target.dev.clone(),
        source: disk.path().map(str::to_owned).or_else(|| address(disk)),
    }
}

fn address(disk: &Disk) -> Option<String> {
    let source = disk.source.as_deref().filter(|_| disk.kind == SourceKind::Network)?;
    Some(source.address())
}

fn nic(card: &Interface, active: bool) -> NicView {
    let source = card.source.as_deref();
    NicView {
        interface: host_name(card).filter(|_| active).map(str::to_owned),
        kind: card.kind.as_str().to_owned(),
        source: source.and_then(|source| source.network.clone().or_else(|| source.bridge.clone())),
        model: card.model().map(str::to_owned),
        mac: card.mac().map(|mac| mac.to_string()).unwrap_or_default(),
    }
}

/// An interface as the agent tells it.
pub(crate) fn agent_interface(interface: GuestInterface) -> InterfaceAddresses {
    InterfaceAddresses {
        name: interface.name,
        mac: interface.hardware_address,
        addresses: interface.ip_addresses.iter().map(agent_address).collect(),
    }
}

fn agent_address(address: &GuestAddress) -> Address {
    let family = if address.ip_address.is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 };
    Address { family, ip: address.ip_address.to_string(), prefix: address.prefix }
}

/// The host's neighbour table, which knows whoever talked to the host lately.
pub(crate) fn arp(handle: &Handle) -> Result<Vec<InterfaceAddresses>> {
    let table = std::fs::read_to_string("/proc/net/arp").map_err(|error| {
        EngineError::new(
            Kind::Unavailable,
            format!("the neighbour table /proc/net/arp cannot be read: {error}"),
        )
    })?;
    let mut by_mac: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Columns: address, type, flags, hardware address. Flags 0x0 marks an entry without an answer.
        if let [ip, _, flags, mac, ..] = words[..]
            && flags != "0x0"
        {
            let address = Address { family: AddressFamily::Ipv4, ip: ip.to_owned(), prefix: 0 };
            by_mac.entry(mac.to_lowercase()).or_default().push(address);
        }
    }
    let found = cards(handle)?.into_iter().filter_map(|(name, mac)| {
        let addresses = by_mac.remove(&mac.to_string().to_lowercase())?;
        Some(InterfaceAddresses { name, mac: Some(mac.to_string()), addresses })
    });
    Ok(found.collect())
}

fn tail(path: &Path, lines: u32) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
    let skip = text.lines().count().saturating_sub(wanted);
    Ok(text.lines().skip(skip).flat_map(|line| [line, "\n"]).collect())
}

/// Processor time a process has used: user and system, fields 14 and 15 of proc_pid_stat(5).
pub(crate) fn cpu_time_ns(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold blanks; the fields after it do not. The first one after it is the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks.saturating_mul(1_000_000_000) / rustix::param::clock_ticks_per_second())
}
