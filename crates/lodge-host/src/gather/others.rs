//! Other managers of virtual machines and networks, and who answers DNS already.

use crate::facts::OtherManagers;

use super::{names, text};

/// Programs whose guests, bridges or rules may meet ours, by the kernel's name for them (15 letters at most).
const MANAGERS: [&str; 16] = [
    "libvirtd",
    "virtqemud",
    "virtnetworkd",
    "virtstoraged",
    "virtlxcd",
    "virtvboxd",
    "dnsmasq",
    "dockerd",
    "VBoxHeadless",
    "VBoxSVC",
    "vmware-vmx",
    "xenstored",
    "incusd",
    "lxd",
    "pmxcfs",
    "cloud-hyperviso",
];

pub(super) fn others() -> OtherManagers {
    let bridge = std::path::Path::new("/sys/class/net/virbr0");
    OtherManagers {
        running: running(),
        dns: dns_listeners(&text("/proc/net/udp")),
        virbr0: bridge.exists().then(|| text(bridge.join("ifalias")).trim().to_owned()),
    }
}

fn running() -> Vec<(String, u32)> {
    let numbers = names("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
    let mut found: Vec<(String, u32)> = numbers
        .filter_map(|pid| {
            let name = text(format!("/proc/{pid}/comm")).trim().to_owned();
            MANAGERS.contains(&name.as_str()).then_some((name, pid))
        })
        .collect();
    found.sort();
    found
}

/// `/proc/net/udp`: the second word is `ADDRESS:PORT` in hex, the address in the host's byte order.
fn dns_listeners(udp: &str) -> Vec<String> {
    let mut found: Vec<String> = udp
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.strip_suffix(":0035"))
        .filter_map(|address| u32::from_str_radix(address, 16).ok())
        .map(|address| std::net::Ipv4Addr::from(address.to_ne_bytes()).to_string())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::dns_listeners;

    #[test]
    fn port_53_is_found_by_its_hex() {
        let udp = "  sl  local_address rem_address\n   1: 017AA8C0:0035 00000000:0000 07\n   2: 00000000:0043 0 07\n";
        if cfg!(target_endian = "little") {
            assert_eq!(dns_listeners(udp), ["192.168.122.1"]);
        }
    }
}
