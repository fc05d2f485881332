//! Whether a guest's own configuration has a card ask DHCP. A wish for that which is written nowhere is no wish that was met.

use std::collections::BTreeSet;

use super::{Format, facts, facts::Section, files, is_of};
use crate::{Address, Identity, Kind, NicWish, Wish, draft::Draft, seen::Seen, text};

/// What a file says of one card, or of many.
struct Told {
    section: Section,
    asks: bool,
    /// Names of the cards that it is about where it names none, `*` for what is left open.
    many: Vec<String>,
}

/// The cards that are to ask DHCP and will, after all that is planned.
pub(crate) fn asking(seen: &Seen<'_>, before: &Identity, wish: &Wish, draft: &Draft<'_>) -> Vec<NicWish> {
    let wanted = |nic: &&NicWish| nic.address == Address::Dhcp;
    if wish.nics.iter().filter(wanted).count() == 0 {
        return Vec::new();
    }
    let mut all: Vec<Told> = Vec::new();
    for (path, format) in files(seen) {
        let Ok(whole) = draft.text(&path) else { continue };
        let lines: Vec<&str> = whole.lines().collect();
        for section in facts::sections(format, &path, &whole) {
            let own = lines.get(section.lines.clone()).unwrap_or_default();
            let is_open = section.mac.is_none() && (section.interface.is_none() || format == Format::Netplan);
            let many = if is_open { names(format, own) } else { Vec::new() };
            all.push(Told { asks: asks(format, own), many, section });
        }
    }
    // One card and one static address belong together, as they did when that was taken away.
    let had_one = before.of(&Kind::STATIC_ADDRESS).count() == 1;
    let is_taken = had_one && all.iter().all(|told| told.section.addresses.is_empty());
    let is_only = |nic: &NicWish| nic.interface.is_none() && wish.nics.len() == 1;
    let asks = |nic: &&NicWish| will_ask(nic, is_only(nic), is_taken, &all);
    wish.nics.iter().filter(wanted).filter(asks).cloned().collect()
}

fn will_ask(nic: &NicWish, is_only: bool, is_taken: bool, all: &[Told]) -> bool {
    let own: Vec<&Told> = all.iter().filter(|told| is_of(nic, &told.section)).collect();
    if !own.is_empty() {
        return own.iter().any(|told| told.asks);
    }
    let about_many = |told: &&Told| match &nic.interface {
        Some(name) => told.many.iter().any(|pattern| fits(pattern, name)),
        // What the guest calls it is not known: a name of an Ethernet card.
        None => told.many.iter().any(|pattern| pattern.starts_with(['e', '*'])),
    };
    let mut asking = all.iter().filter(|told| told.asks);
    if asking.any(|told| about_many(&told)) {
        return true;
    }
    // One card and one interface belong together, whatever that is called.
    let interfaces: BTreeSet<_> = all.iter().map(|told| &told.section.interface).collect();
    let is_one = interfaces.len() == 1 && all.iter().all(|told| told.section.mac.is_none());
    is_only && (is_one || is_taken) && all.iter().any(|told| told.asks)
}

/// Whether the lines of a section have its card ask.
fn asks(format: Format, lines: &[&str]) -> bool {
    let value = |line: &str, key: &str| {
        let value = text::line_value(line, key, text::Separator::Equals)?;
        Some(text::unquote(value).to_lowercase())
    };
    let says = |line: &str, key: &str, words: &[&str]| {
        value(line, key).is_some_and(|value| words.contains(&value.as_str()))
    };
    match format {
        Format::Ifcfg => lines.iter().any(|line| {
            value(line, "BOOTPROTO").is_some_and(|way| way.starts_with("dhcp")) || says(line, "IP", &["dhcp"])
        }),
        Format::Keyfile => {
            let mut is_v4 = false;
            lines.iter().any(|line| {
                if line.trim().starts_with('[') {
                    is_v4 = line.trim() == "[ipv4]";
                }
                is_v4 && says(line, "method", &["auto"])
            })
        }
        Format::Networkd => lines
            .iter()
            .any(|line| says(line, "DHCP", &["yes", "true", "on", "1", "ipv4", "ipv6", "both", "v4", "v6"])),
        Format::Interfaces => lines.iter().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("iface") && words.nth(2) == Some("dhcp")
        }),
        Format::Netplan => lines.iter().any(|line| {
            ["dhcp4", "dhcp6"].iter().any(|key| {
                text::line_value(line, key, text::Separator::Colon)
                    .is_some_and(|value| matches!(text::unquote(value), "true" | "yes" | "on"))
            })
        }),
        Format::Link | Format::Udev => false,
    }
}

/// The names of the cards that a section is about, if that is all that it is about them.
fn names(format: Format, lines: &[&str]) -> Vec<String> {
    let any = |is_any: bool| if is_any { vec!["*".to_owned()] } else { Vec::new() };
    let of = |key: &str, separator| lines.iter().find_map(|line| text::line_value(line, key, separator));
    match format {
        Format::Networkd => match of("Name", text::Separator::Equals) {
            Some(names) => names.split_whitespace().map(str::to_owned).collect(),
            None => any(of("Type", text::Separator::Equals) == Some("ether")),
        },
        Format::Keyfile => {
            any(matches!(of("type", text::Separator::Equals), Some("ethernet" | "802-3-ethernet")))
        }
        Format::Netplan => of("name", text::Separator::Colon)
            .map(|name| text::unquote(name).to_owned())
            .into_iter()
            .collect(),
        Format::Ifcfg | Format::Interfaces | Format::Link | Format::Udev => Vec::new(),
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::guest_disk::{FileNode, FilePath, Files, Layout, Owner};

    use super::*;
    use crate::{Fresh, HostFacts, Purpose};

    const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

    /// Whether a card asks, by its name or, where that is empty, as the only one there is.
    fn is_asking(path: &str, whole: &str, name: &str) -> bool {
        let mut files = Files::default();
        let node = FileNode::File { bytes: whole.into(), size: whole.len() as u64, owner: OWNER };
        files.nodes.insert(FilePath::new(path).unwrap(), node);
        let mut wish = Wish::new(Purpose::Clone, Fresh::new([1; 32]));
        let mac = |last: &str| name.is_empty().then(|| format!("52:54:00:00:00:{last}"));
        let interface = (!name.is_empty()).then(|| name.to_owned());
        wish.nics =
            vec![NicWish { old_mac: mac("01"), new_mac: mac("02"), interface, address: Address::Dhcp }];
        let (layout, host) = (Layout::default(), HostFacts::default());
        let before = Identity::default();
        !asking(&Seen::new(&layout, &files, &host), &before, &wish, &Draft::new(&files)).is_empty()
    }

    #[test]
    fn a_card_asks_where_the_guest_says_so_and_nowhere_else() {
        let interfaces = "/etc/network/interfaces";
        let networkd = "/etc/systemd/network/a.network";
        let (netplan, keyfile) = ("/etc/netplan/a.yaml", "/etc/NetworkManager/system-connections/a");
        let ifcfg = "/etc/sysconfig/network-scripts/ifcfg-eth0";
        let matched =
            "network:\n  ethernets:\n    any:\n      match:\n        name: \"en*\"\n      dhcp4: true\n";
        let table = [
            (interfaces, "auto eth0\niface eth0 inet dhcp\n", "eth0", true),
            (interfaces, "auto eth0\niface eth0 inet dhcp\n", "eth1", false),
            (interfaces, "auto eth0\niface eth0 inet dhcp\n", "", true),
            (interfaces, "iface eth0 inet dhcp\niface eth1 inet dhcp\n", "", false),
            (interfaces, "iface eth0 inet static\n address 192.0.2.9/24\n", "", false),
            (interfaces, "iface lo inet loopback\n", "", false),
            (networkd, "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n", "eth9", true),
            (networkd, "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n", "", true),
            (networkd, "[Match]\nName=wl*\n[Network]\nDHCP=yes\n", "eth9", false),
            (networkd, "[Match]\nName=en*\n[Network]\nDHCP=no\n", "ens3", false),
            (networkd, "[Match]\nMACAddress=52:54:00:00:00:01\n[Network]\nDHCP=ipv4\n", "", true),
            (networkd, "[Match]\nMACAddress=52:54:00:00:00:09\n[Network]\nDHCP=ipv4\n", "", false),
            (ifcfg, "DEVICE=eth0\nBOOTPROTO=\"dhcp\"\n", "eth0", true),
            (ifcfg, "DEVICE=eth0\nBOOTPROTO=none\n", "eth0", false),
            (keyfile, "[connection]\ntype=ethernet\n[ipv4]\nmethod=auto\n", "ens3", true),
            (keyfile, "[connection]\ntype=ethernet\n[ipv6]\nmethod=auto\n", "ens3", false),
            (netplan, matched, "ens3", true),
            (netplan, matched, "eth0", false),
            (netplan, "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n", "eth0", true),
            (netplan, "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n", "eth1", false),
        ];
        for (path, whole, name, want) in table {
            assert_eq!(is_asking(path, whole, name), want, "{name} {whole}");
        }
    }
}
