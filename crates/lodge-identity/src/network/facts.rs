//! What the lines of a network configuration say.
//!
//! A scanner, not a parser: it finds the lines that carry an identity, each with its number, and what belongs to one
//! card. Any text will do.

use std::{net::IpAddr, ops::Range};

use lodge_model::guest_disk::FilePath;

use super::Format;
use crate::{Kind, text};

/// One value on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) key: String,
    /// In one form: a MAC in lower case with colons.
    pub(crate) value: String,
    /// As it stands there.
    pub(crate) written: String,
}

/// The lines about one card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) lines: Range<usize>,
    pub(crate) interface: Option<String>,
    pub(crate) mac: Option<String>,
    /// Static addresses: key and value.
    pub(crate) addresses: Vec<(String, String)>,
}

/// Whether a word is the address of a card.
pub(crate) fn is_mac(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 17
        && bytes.iter().enumerate().all(|(at, byte)| match at % 3 {
            2 => *byte == bytes[2] && matches!(byte, b':' | b'-'),
            _ => byte.is_ascii_hexdigit(),
        })
}

/// An address with or without a prefix that a machine can have alone.
fn is_address(word: &str) -> bool {
    let (address, prefix) = word.split_once('/').unwrap_or((word, "0"));
    prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 128)
        && address.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

/// A line's words, freed of quotes and brackets.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '\t', ',', ';', '"', '\'', '(', ')', '[', ']', '=']).filter(|word| !word.is_empty())
}

/// All facts of a file.
pub(crate) fn facts(format: Format, whole: &str) -> Vec<Fact> {
    let mut found = Vec::new();
    let mut context = Context::default();
    for (number, line) in whole.lines().enumerate() {
        let body = line.trim();
        context.enter(format, line);
        if body.is_empty() || body.starts_with(['#', ';']) {
            continue;
        }
        let (key, value) = split(format, body);
        for word in words(value) {
            let kind = if is_mac(word) {
                Kind::MAC
            } else if is_address(word) && context.is_own_address(format, key) {
                Kind::STATIC_ADDRESS
            } else {
                continue;
            };
            let value =
                if kind == Kind::MAC { word.to_lowercase().replace('-', ":") } else { word.to_owned() };
            // No card has it.
            if value == "00:00:00:00:00:00" || value == "ff:ff:ff:ff:ff:ff" {
                continue;
            }
            found.push(Fact {
                line: number,
                kind,
                key: context.name(format, key),
                value,
                written: word.to_owned(),
            });
            // Behind an address in a keyfile stands the router.
            if format == Format::Keyfile {
                break;
            }
        }
        if let Some((kind, value)) = identifier(format, key, value) {
            let written = value.to_owned();
            let value = if kind == Kind::CONNECTION_UUID { value.to_lowercase() } else { value.to_owned() };
            found.push(Fact { line: number, kind, key: context.name(format, key), value, written });
        }
    }
    found
}

/// UUIDs and client ids.
fn identifier<'a>(format: Format, key: &str, value: &'a str) -> Option<(Kind, &'a str)> {
    let value = text::unquote(value);
    let is_uuid = text::find_uuid(value).is_some_and(|uuid| uuid.len() == value.len());
    match (format, key) {
        (Format::Ifcfg, "UUID") | (Format::Keyfile, "uuid") if is_uuid => {
            Some((Kind::CONNECTION_UUID, value))
        }
        (Format::Ifcfg, "DHCP_CLIENT_ID" | "DHCLIENT_CLIENT_ID" | "DHCLIENT6_CLIENT_ID" | "DHCPV6_DUID") => {
            (!value.is_empty()).then_some((Kind::DHCP_CLIENT_ID, value))
        }
        (Format::Keyfile, "dhcp-client-id" | "dhcp-duid") => {
            let is_word = matches!(
                value,
                "" | "mac"
                    | "perm-mac"
                    | "duid"
                    | "ipv6-duid"
                    | "stable"
                    | "none"
                    | "lease"
                    | "llt"
                    | "ll"
                    | "uuid"
            ) || value.starts_with("stable-");
            (!is_word).then_some((Kind::DHCP_CLIENT_ID, value))
        }
        _ => None,
    }
}

fn split(format: Format, body: &str) -> (&str, &str) {
    let parts = match format {
        Format::Ifcfg | Format::Keyfile | Format::Networkd | Format::Link => body.split_once('='),
        Format::Interfaces => body.split_once([' ', '\t']),
        Format::Netplan => body.split_once(": ").or_else(|| body.strip_suffix(':').map(|key| (key, ""))),
        Format::Udev => return ("ATTR{address}", body),
    };
    match parts {
        Some((key, value)) => (key.trim_end().trim_start_matches("- "), value.trim()),
        None => ("", body.trim_start_matches("- ")),
    }
}

/// Where in a file a line stands.
#[derive(Default)]
struct Context {
    /// The ini section, or interfaces' stanza.
    section: String,
    /// Netplan's keys above the line, with their indents.
    above: Vec<(usize, String)>,
}

impl Context {
    fn enter(&mut self, format: Format, line: &str) {
        let body = line.trim();
        match format {
            Format::Keyfile | Format::Networkd | Format::Link => {
                if let Some(name) = body.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                    name.clone_into(&mut self.section);
                }
            }
            Format::Interfaces => {
                if let Some(rest) = body.strip_prefix("iface ") {
                    rest.split_whitespace().next().unwrap_or_default().clone_into(&mut self.section);
                } else if body.starts_with("auto ")
                    || body.starts_with("allow-")
                    || body.starts_with("mapping ")
                {
                    self.section.clear();
                }
            }
            Format::Netplan => {
                if body.is_empty() || body.starts_with('#') {
                    return;
                }
                let is_item = body.starts_with("- ");
                let indent = line.len() - line.trim_start().len();
                // A list may stand at its key's own indent.
                self.above.retain(|(other, _)| *other < indent || (is_item && *other == indent));
                if let (key, _) = split(format, body)
                    && !key.is_empty()
                    && !is_item
                {
                    self.above.push((indent, text::unquote(key).to_owned()));
                }
            }
            Format::Ifcfg | Format::Udev => {}
        }
    }

    /// Whether an address on a line of this key is the card's own.
    fn is_own_address(&self, format: Format, key: &str) -> bool {
        match format {
            Format::Ifcfg => {
                key.starts_with("IPADDR")
                    || key.starts_with("IPV6ADDR")
                    || matches!(key, "Address" | "Address6")
            }
            Format::Keyfile => {
                matches!(self.section.as_str(), "ipv4" | "ipv6")
                    && key
                        .strip_prefix("address")
                        .is_some_and(|rest| rest == "es" || rest.bytes().all(|byte| byte.is_ascii_digit()))
            }
            Format::Networkd => matches!(self.section.as_str(), "Network" | "Address") && key == "Address",
            Format::Interfaces => key == "address",
            Format::Netplan => {
                let keys: Vec<&str> = self.above.iter().map(|(_, key)| key.as_str()).collect();
                keys.contains(&"addresses") && !keys.contains(&"nameservers")
            }
            Format::Link | Format::Udev => false,
        }
    }

    /// What the place of a line is called.
    fn name(&self, format: Format, key: &str) -> String {
        match format {
            Format::Interfaces if !self.section.is_empty() => format!("{} {key}", self.section),
            Format::Keyfile | Format::Networkd | Format::Link if !self.section.is_empty() => {
                format!("[{}] {key}", self.section)
            }
            Format::Netplan => self.above.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join("."),
            _ => key.to_owned(),
        }
    }
}

/// A file's sections, each about one card. One that is about no card that can be told is left out.
pub(crate) fn sections(format: Format, path: &FilePath, whole: &str) -> Vec<Section> {
    let count = whole.lines().count();
    let mut sections = match format {
        Format::Link | Format::Udev => Vec::new(),
        Format::Ifcfg | Format::Keyfile | Format::Networkd => {
            vec![Section { lines: 0..count, interface: interface(format, path, whole), ..Section::default() }]
        }
        Format::Interfaces => stanzas(whole),
        Format::Netplan => devices(whole),
    };
    for fact in facts(format, whole) {
        for section in sections.iter_mut().filter(|section| section.lines.contains(&fact.line)) {
            if fact.kind == Kind::MAC {
                section.mac.get_or_insert_with(|| fact.value.clone());
            } else if fact.kind == Kind::STATIC_ADDRESS {
                section.addresses.push((fact.key.clone(), fact.value.clone()));
            }
        }
    }
    sections
}

fn interface(format: Format, path: &FilePath, whole: &str) -> Option<String> {
    let key = match format {
        Format::Ifcfg => "DEVICE",
        Format::Keyfile => "interface-name",
        _ => "Name",
    };
    let named = text::shell_value(whole, key).or_else(|| text::shell_value(whole, "Interface"));
    let named = named.filter(|name| !name.is_empty() && !name.contains(['*', '?', '[', ' ']));
    named.or_else(|| {
        let name = std::str::from_utf8(path.name()).ok()?;
        (format == Format::Ifcfg).then(|| name.strip_prefix("ifcfg-").map(str::to_owned))?
    })
}

/// The `iface` stanzas of interfaces(5).
fn stanzas(whole: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open = false;
    for (number, line) in whole.lines().enumerate() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let starts = [
            "iface",
            "auto",
            "mapping",
            "source",
            "source-directory",
            "no-auto-down",
            "no-scripts",
            "rename",
        ];
        if starts.contains(&word) || word.starts_with("allow-") {
            open = word == "iface";
            let name = line.split_whitespace().nth(1).unwrap_or_default();
            if open && name != "lo" {
                let interface = Some(name.to_owned());
                sections.push(Section { lines: number..number + 1, interface, ..Section::default() });
            } else {
                open = false;
            }
        } else if open
            && !line.trim().is_empty()
            && let Some(section) = sections.last_mut()
        {
            section.lines.end = number + 1;
        }
    }
    sections
}

/// The devices under netplan's `ethernets`.
fn devices(whole: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut group: Option<usize> = None;
    let mut device: Option<usize> = None;
    for (number, line) in whole.lines().enumerate() {
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if group.is_some_and(|group| indent <= group) {
            (group, device) = (None, None);
        }
        if matches!(body, "ethernets:" | "wifis:" | "bonds:" | "bridges:" | "vlans:") {
            (group, device) = (Some(indent), None);
            continue;
        }
        if group.is_none() {
            continue;
        }
        if device.is_none_or(|device| indent <= device) {
            let Some(name) = body.strip_suffix(':') else { continue };
            device = Some(indent);
            let interface = Some(text::unquote(name).to_owned());
            sections.push(Section { lines: number..number + 1, interface, ..Section::default() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.end = number + 1;
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, whole: &str) -> Vec<String> {
        facts(format, whole)
            .into_iter()
            .map(|fact| format!("{} {} {}", fact.kind, fact.key, fact.value))
            .collect()
    }

    #[test]
    fn each_format_tells_its_identity() {
        let uuid = "5f2b1d3c-0a1b-4c2d-8e3f-001122334455";
        let ifcfg = format!(
            "DEVICE=eth0\nHWADDR=\"52:54:00:AA:BB:CC\"\nUUID={uuid}\nIPADDR=192.0.2.9\nGATEWAY=192.0.2.1\nDNS1=192.0.2.2\n"
        );
        assert_eq!(
            shown(Format::Ifcfg, &ifcfg),
            [
                "mac-address HWADDR 52:54:00:aa:bb:cc",
                &format!("connection-uuid UUID {uuid}"),
                "static-address IPADDR 192.0.2.9"
            ]
        );
        let keyfile = format!(
            "[connection]\nuuid={uuid}\n[ethernet]\nmac-address=52:54:00:AA:BB:CC\n[ipv4]\naddress1=192.0.2.9/24,192.0.2.1\ndns=192.0.2.2;\ndhcp-client-id=01:02\nmethod=manual\n"
        );
        assert_eq!(
            shown(Format::Keyfile, &keyfile),
            [
                &format!("connection-uuid [connection] uuid {uuid}"),
                "mac-address [ethernet] mac-address 52:54:00:aa:bb:cc",
                "static-address [ipv4] address1 192.0.2.9/24",
                "dhcp-client-id [ipv4] dhcp-client-id 01:02"
            ]
        );
        let networkd = "[Match]\nMACAddress=52:54:00:aa:bb:cc\n[Network]\nAddress=2001:db8::9/64\nDNS=192.0.2.2\n[Route]\nGateway=192.0.2.1\n";
        assert_eq!(
            shown(Format::Networkd, networkd),
            [
                "mac-address [Match] MACAddress 52:54:00:aa:bb:cc",
                "static-address [Network] Address 2001:db8::9/64"
            ]
        );
        let interfaces = "auto lo\niface lo inet loopback\nallow-hotplug ens3\niface ens3 inet static\n  address 192.0.2.9/24\n  gateway 192.0.2.1\n  hwaddress ether 52-54-00-aa-bb-cc\n";
        assert_eq!(
            shown(Format::Interfaces, interfaces),
            ["static-address ens3 address 192.0.2.9/24", "mac-address ens3 hwaddress 52:54:00:aa:bb:cc"]
        );
        let netplan = "network:\n  ethernets:\n    eth0:\n      match:\n        macaddress: '52:54:00:aa:bb:cc'\n      addresses:\n      - 192.0.2.9/24\n      - \"2001:db8::9/64\"\n      nameservers:\n        addresses: [192.0.2.2]\n      routes:\n      - to: default\n        via: 192.0.2.1\n";
        assert_eq!(
            shown(Format::Netplan, netplan),
            [
                "mac-address network.ethernets.eth0.match.macaddress 52:54:00:aa:bb:cc",
                "static-address network.ethernets.eth0.addresses 192.0.2.9/24",
                "static-address network.ethernets.eth0.addresses 2001:db8::9/64"
            ]
        );
        let udev = "SUBSYSTEM==\"net\", ATTR{address}==\"52:54:00:aa:bb:cc\", NAME=\"eth0\"\n";
        assert_eq!(shown(Format::Udev, udev), ["mac-address ATTR{address} 52:54:00:aa:bb:cc"]);
    }

    #[test]
    fn a_file_is_divided_by_cards() {
        let path = FilePath::new("/etc/netplan/x.yaml").unwrap();
        let netplan = "network:\n  version: 2\n  ethernets:\n    a:\n      dhcp4: true\n    b:\n      addresses: [192.0.2.9/24]\n  vlans:\n    c:\n      id: 5\n";
        let found = sections(Format::Netplan, &path, netplan);
        let names: Vec<_> =
            found.iter().map(|one| (one.interface.as_deref().unwrap(), one.lines.clone())).collect();
        assert_eq!(names, [("a", 3..5), ("b", 5..7), ("c", 8..10)]);
        assert_eq!(found[1].addresses.len(), 1);
        let interfaces = "iface lo inet loopback\n\nauto a\niface a inet dhcp\niface b inet static\n address 192.0.2.9\n\n";
        let names: Vec<_> =
            stanzas(interfaces).into_iter().map(|one| (one.interface.unwrap(), one.lines)).collect();
        assert_eq!(names, [("a".to_owned(), 3..4), ("b".to_owned(), 4..6)]);
    }
}
