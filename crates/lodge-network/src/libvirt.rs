//! libvirt's files of running networks: what a libvirt daemon left, and what Lodge leaves for one.
//!
//! | what | where |
//! | --- | --- |
//! | a running network, with how its rules are taken back | `run/libvirt/network/NAME.xml` |
//! | the pid of its dnsmasq | `run/libvirt/network/NAME.pid` |
//! | its leases | `var/lib/libvirt/dnsmasq/BRIDGE.status` (JSON) |
//!
//! Deliberately absent: what is done with them (`owner/libvirt.rs`).

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::MacAddr;
use lodge_model::network::Network;
use lodge_model::network::status::{FirewallUndo, NetworkStatus};
use lodge_store::{Driver, Root};
use lodge_sys::process::{Identity, Process};
use lodge_sys::tool::{Tool, ToolError};
use serde::{Deserialize, Serialize};

use crate::netd::journal::Entry;

/// Longest file of libvirt's that is read.
const FILE_MAX_BYTES: u64 = 16 << 20;
/// How long one command that takes a rule back may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// A lease that never ends, in dnsmasq's words.
const FOR_EVER: u64 = 0;

/// A network that runs, as libvirt's files tell of it.
#[derive(Debug, Clone)]
pub struct RunningNetwork {
    /// Its document.
    pub document: Network,
    /// The bridge.
    pub bridge: Option<String>,
    /// The pid of its dnsmasq, if one runs.
    pub dnsmasq: Option<u32>,
    pub(crate) firewall: Option<FirewallUndo>,
}

/// What libvirt's files of running networks say.
#[derive(Debug, Default)]
pub struct RunningNetworks {
    /// Those that can be read.
    pub running: Vec<RunningNetwork>,
    /// Files that cannot, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Reads libvirt's files of running networks under `root`. Changes nothing; whether the bridges are there is the
/// caller's to find out.
pub fn running_networks(root: &Root) -> io::Result<RunningNetworks> {
    let mut found = RunningNetworks::default();
    let entries = match std::fs::read_dir(directory(root)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    paths.sort();
    for path in paths {
        match read(root, &path) {
            Ok(network) => found.running.push(network),
            Err(why) => found.unreadable.push((path, why)),
        }
    }
    Ok(found)
}

fn read(root: &Root, path: &Path) -> Result<RunningNetwork, String> {
    let text = bounded(path).map_err(|error| error.to_string())?;
    let status = NetworkStatus::parse(&text).map_err(|faults| faults.to_string())?;
    let document = *status.network;
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(document.name.as_str()) {
        return Err(format!("it is of `{}`, which is not its name", document.name));
    }
    Ok(RunningNetwork {
        bridge: document.bridge.as_ref().and_then(|bridge| bridge.name.clone()),
        dnsmasq: dnsmasq(root, &document.name).map(|process| process.identity().pid),
        firewall: status.firewall,
        document,
    })
}

fn bounded(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {FILE_MAX_BYTES} bytes"),
        ));
    }
    std::fs::read_to_string(path)
}

fn directory(root: &Root) -> PathBuf {
    root.libvirt_run().join(Driver::Network.directory())
}

/// The dnsmasq of a network, if it runs.
pub(crate) fn dnsmasq(root: &Root, network: &str) -> Option<Process> {
    let text = std::fs::read_to_string(directory(root).join(format!("{network}.pid"))).ok()?;
    let identity = Identity::of(text.trim().parse().ok()?).ok()??;
    let words = std::fs::read(format!("/proc/{}/cmdline", identity.pid)).ok()?;
    let configuration = root.libvirt_lib().join(format!("dnsmasq/{network}.conf"));
    let wanted = format!("--conf-file={}", configuration.display());
    let is_it = words.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes());
    if is_it { Process::hold(identity).ok()? } else { None }
}

/// A lease as libvirt's helper of dnsmasq keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct KeptLease {
    pub ip_address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    pub expiry_time: u64,
    /// What Lodge has no use for: `iaid`, `server-duid` of IPv6.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// The leases that libvirt's dnsmasq gave on a bridge, as netd's journal has them. `now`: seconds since 1970.
pub(crate) fn leases(root: &Root, bridge: &str, now: u64) -> Result<Vec<Entry>, String> {
    let path = status_of(root, bridge);
    let text = match bounded(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let kept: Vec<KeptLease> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(kept.iter().filter_map(|lease| entry(lease, now)).collect())
}

/// Leaves leases for libvirt's dnsmasq of a bridge. Those of IPv6 that are there stay.
pub(crate) fn leave_leases(
    root: &Root,
    bridge: &str,
    leases: impl IntoIterator<Item = KeptLease>,
) -> io::Result<()> {
    let path = status_of(root, bridge);
    let known: Vec<KeptLease> =
        bounded(&path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let of_ipv6 = known.into_iter().filter(|lease| lease.ip_address.parse::<Ipv4Addr>().is_err());
    let all: Vec<KeptLease> = of_ipv6.chain(leases).collect();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec_pretty(&all)?)?;
    std::fs::rename(fresh, path)
}

/// One of IPv4 that has not ended.
fn entry(lease: &KeptLease, now: u64) -> Option<Entry> {
    let ip: Ipv4Addr = lease.ip_address.parse().ok()?;
    let mac: MacAddr = lease.mac_address.as_deref()?.parse().ok()?;
    let until = if lease.expiry_time == FOR_EVER { u64::MAX } else { lease.expiry_time };
    let byte = |text: &str| u8::from_str_radix(text, 16).ok();
    let client_id = lease.client_id.as_deref().filter(|id| *id != "*");
    let client_id = client_id.and_then(|id| id.split(':').map(byte).collect::<Option<Vec<u8>>>());
    let hostname = lease.hostname.clone().filter(|name| name != "*" && crate::netd::valid_name(name));
    (until > now).then_some(Entry::Lease { mac, ip, until, hostname, client_id })
}

/// The file of a bridge's leases.
pub(crate) fn status_of(root: &Root, bridge: &str) -> PathBuf {
    root.libvirt_lib().join(format!("dnsmasq/{bridge}.status"))
}

/// Takes back the rules that libvirt made for a network, by the commands it noted for that. A rule that is gone is no
/// matter.
pub(crate) async fn undo_rules(network: &str, undo: &FirewallUndo) {
    let actions = undo.groups.iter().flat_map(|group| &group.actions);
    for action in actions {
        let Some(args) = &action.args else { continue };
        let layer = action.layer.as_deref().unwrap_or("ipv4");
        let Some((program, first)) = program(undo.backend.as_deref(), layer) else { continue };
        let run = Tool::new(program, COMMAND_PATIENCE).args(first).args(&args.items).run();
        match run.await {
            Ok(_) => {}
            Err(ToolError::Failed { words, .. }) => {
                tracing::debug!(network, program, args = ?args.items, words, "a rule of libvirt's was not taken back");
            }
            Err(error) => tracing::warn!(network, program, %error, "a rule of libvirt's was not taken back"),
        }
    }
}

/// What libvirt runs for a backend and layer.
fn program(backend: Option<&str>, layer: &str) -> Option<(&'static str, &'static [&'static str])> {
    match (backend.unwrap_or("iptables"), layer) {
        ("nftables", _) => Some(("nft", &[])),
        ("iptables", "ipv4") => Some(("iptables", &["-w"])),
        ("iptables", "ipv6") => Some(("ip6tables", &["-w"])),
        ("iptables", "ethernet") => Some(("ebtables", &["--concurrent"])),
        _ => None,
    }
}

/// Leaves the file by which a libvirt daemon finds this network running. One that is there and tells the same stays:
/// it may say how libvirt's rules are taken back.
pub(crate) fn leave_status(root: &Root, document: &Network) -> io::Result<()> {
    let path = directory(root).join(format!("{}.xml", document.name));
    let known = bounded(&path).ok().and_then(|text| NetworkStatus::parse(&text).ok());
    if known.is_some_and(|known| *known.network == *document) {
        return Ok(());
    }
    std::fs::create_dir_all(directory(root))?;
    let name = document.name.replace("--", "- -");
    let text = format!(
        "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\nOVERWRITTEN AND LOST. Changes \
         to this xml configuration should be made using:\n  virsh net-edit {name}\nor other application using the \
         libvirt API.\n-->\n\n{}",
        NetworkStatus::of(document).to_xml()
    );
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, path)
}

/// Removes what says that a network runs.
pub(crate) fn remove_status(root: &Root, network: &str) -> io::Result<()> {
    for extension in ["xml", "pid"] {
        match std::fs::remove_file(directory(root).join(format!("{network}.{extension}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_of_dnsmasq_become_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert_eq!(leases(&root, "virbr0", 100).unwrap(), []);
        let path = status_of(&root, "virbr0");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(leases(&root, "virbr0", 100).unwrap(), []);
        let text = r#"[
          { "ip-address": "192.168.122.5", "mac-address": "52:54:00:11:22:33", "hostname": "web1",
            "client-id": "ff:56:50", "expiry-time": 4102444800 },
          { "ip-address": "192.168.122.6", "mac-address": "52:54:00:11:22:34", "expiry-time": 99 },
          { "ip-address": "192.168.122.7", "mac-address": "52:54:00:11:22:35", "hostname": "*", "client-id": "*",
            "expiry-time": 0 },
          { "iaid": "1", "ip-address": "fd00::5", "client-id": "00:01", "server-duid": "00:02", "expiry-time": 4102444800 }
        ]"#;
        std::fs::write(&path, text).unwrap();
        let lease = |last: u8, mac: &str, until, hostname: Option<&str>, client_id| Entry::Lease {
            mac: mac.parse().unwrap(),
            ip: Ipv4Addr::new(192, 168, 122, last),
            until,
            hostname: hostname.map(str::to_owned),
            client_id,
        };
        let expected = [
            lease(5, "52:54:00:11:22:33", 4_102_444_800, Some("web1"), Some(vec![0xff, 0x56, 0x50])),
            lease(7, "52:54:00:11:22:35", u64::MAX, None, None),
        ];
        assert_eq!(leases(&root, "virbr0", 100).unwrap(), expected);
        let kept: Vec<KeptLease> = serde_json::from_str(text).unwrap();
        let of_ipv4 = kept.into_iter().filter(|lease| lease.ip_address != "fd00::5");
        leave_leases(&root, "virbr0", of_ipv4).unwrap();
        assert_eq!(leases(&root, "virbr0", 100).unwrap(), expected);
        let left = std::fs::read_to_string(&path).unwrap();
        assert!(left.contains("server-duid") && left.contains("fd00::5"), "{left}");
        std::fs::write(&path, "[{]").unwrap();
        assert!(leases(&root, "virbr0", 100).is_err());
    }

    #[test]
    fn the_status_left_is_found_and_one_that_tells_the_same_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let document = Network::parse("<network><name>lan</name><bridge name='virbr7'/></network>").unwrap();
        leave_status(&root, &document).unwrap();
        let found = running_networks(&root).unwrap();
        assert_eq!(found.running[0].document, document);
        assert_eq!(found.running[0].bridge.as_deref(), Some("virbr7"));
        let path = directory(&root).join("lan.xml");
        let longer = std::fs::read_to_string(&path).unwrap().replace("<floor sum='0'/>", "<floor sum='7'/>");
        std::fs::write(&path, &longer).unwrap();
        leave_status(&root, &document).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), longer);
        remove_status(&root, "lan").unwrap();
        assert!(running_networks(&root).unwrap().running.is_empty());
    }
}
