//! What a guest's files say of its network cards: addresses of cards, addresses of the network, connections' UUIDs.
//!
//! Every format is read line by line ([`facts`]), so a change touches the lines it is about and no others, comments
//! and order stay, and what is not understood stays too. Where a static address is to become another or DHCP's, one
//! card's section is written anew ([`address`]).

mod address;
pub(crate) mod dhcp;
mod facts;

use std::{collections::BTreeMap, net::IpAddr};

use lodge_model::guest_disk::FilePath;

use facts::{Fact, Section};

use super::{
    Address, Identity, Item, Kind, NicWish, Purpose, Wish,
    draft::Draft,
    seen::Seen,
    text::{self, Line},
};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `KEY=value`: RHEL's and SUSE's ifcfg, Arch's netctl.
    Ifcfg,
    /// NetworkManager's keyfile.
    Keyfile,
    /// systemd's `.network` and `.netdev`.
    Networkd,
    /// systemd's `.link`.
    Link,
    /// Debian's and Alpine's interfaces(5).
    Interfaces,
    /// Ubuntu's YAML.
    Netplan,
    /// udev's rules.
    Udev,
}

/// Where each is.
const FILES: &[(&str, Format)] = &[
    ("/etc/sysconfig/network-scripts/ifcfg-*", Format::Ifcfg),
    ("/etc/sysconfig/network/ifcfg-*", Format::Ifcfg),
    ("/etc/netctl/*", Format::Ifcfg),
    ("/etc/NetworkManager/system-connections/*", Format::Keyfile),
    ("/etc/systemd/network/*.network", Format::Networkd),
    ("/etc/systemd/network/*.netdev", Format::Networkd),
    ("/etc/systemd/network/*.link", Format::Link),
    ("/etc/network/interfaces", Format::Interfaces),
    ("/etc/network/interfaces.d/*", Format::Interfaces),
    ("/etc/netplan/*.yaml", Format::Netplan),
    ("/etc/netplan/*.yml", Format::Netplan),
    ("/etc/udev/rules.d/70-persistent-net.rules", Format::Udev),
    ("/etc/udev/rules.d/*-net*.rules", Format::Udev),
];

pub(crate) const WANTED: &[&str] = &[
    FILES[0].0,
    FILES[1].0,
    FILES[2].0,
    FILES[3].0,
    FILES[4].0,
    FILES[5].0,
    FILES[6].0,
    FILES[7].0,
    FILES[8].0,
    FILES[9].0,
    FILES[10].0,
    FILES[11].0,
    FILES[12].0,
];

/// The files there are, each once.
fn files(seen: &Seen<'_>) -> Vec<(FilePath, Format)> {
    let mut all: Vec<(FilePath, Format)> = Vec::new();
    for (pattern, format) in FILES {
        for path in seen.matching_any(&[pattern]).into_keys() {
            // The loopback is nobody's.
            if path.name() != b"ifcfg-lo" && all.iter().all(|(known, _)| known != path) {
                all.push((path.clone(), *format));
            }
        }
    }
    all
}

fn place(path: &FilePath, key: &str) -> String {
    format!("{path}: {key}")
}

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    for (path, format) in files(seen) {
        let Some(text) = path.as_str().and_then(|path| seen.text(path)) else { continue };
        for fact in facts::facts(format, &text) {
            found.push(Item::present(fact.kind, place(&path, &fact.key), fact.value));
        }
    }
}

pub(crate) fn plan(seen: &Seen<'_>, before: &Identity, wish: &Wish, draft: &mut Draft<'_>) {
    let files = files(seen);
    if wish.does("net-nmconn") {
        new_uuids(&files, wish, draft);
    }
    for (path, format) in &files {
        if wish.does("net-hwaddr") {
            if wish.purpose == Purpose::Generalise {
                forget_macs(path, *format, draft);
            } else if !wish.nics.is_empty() {
                new_macs(path, *format, wish, draft);
            }
        }
        if wish.does("dhcp-client-state") {
            forget_client_ids(path, *format, draft);
        }
    }
    if wish.does("net-hwaddr") || wish.does("net-address") {
        let statics = before.of(&Kind::STATIC_ADDRESS).count();
        for (path, format) in &files {
            new_addresses(path, *format, wish, statics, draft);
        }
    }
}

/// What a file says, as the plan has it.
fn facts_in(
    path: &FilePath,
    format: Format,
    kind: &Kind,
    draft: &mut Draft<'_>,
) -> Option<(String, Vec<Fact>)> {
    let text = match draft.text(path) {
        Ok(text) => text,
        Err(super::draft::NoText::Missing | super::draft::NoText::NotAFile) => return None,
        Err(fault) => {
            draft.flag(kind, path.to_string(), format!("it was not changed: {fault}"));
            return None;
        }
    };
    let mut facts = facts::facts(format, &text);
    facts.retain(|fact| fact.kind == *kind);
    (!facts.is_empty()).then_some((text, facts))
}

/// The text with some lines changed.
fn change_lines(text: &str, mut judge: impl FnMut(usize, &str) -> Line) -> String {
    let mut number = 0;
    text::map_lines(text, |line| {
        number += 1;
        judge(number - 1, line)
    })
}

fn replaced_on(text: &str, at: usize, old: &str, new: &str) -> String {
    change_lines(text, |number, line| {
        if number == at {
            Line::Set(text::replace_word(line, old, new, text::is_id_char))
        } else {
            Line::Keep
        }
    })
}

/// New UUIDs for connections, also where one connection names another (a bond's port its bond).
fn new_uuids(files: &[(FilePath, Format)], wish: &Wish, draft: &mut Draft<'_>) {
    let mut fresh: BTreeMap<String, String> = BTreeMap::new();
    for (path, format) in files {
        let Some((text, facts)) = facts_in(path, *format, &Kind::CONNECTION_UUID, draft) else { continue };
        for fact in &facts {
            let place = place(path, &fact.key);
            let old = Some(fact.value.as_str());
            if wish.purpose == Purpose::Generalise {
                draft.change(&fact.kind, place, old, None, "each machine made of the template gets its own");
                continue;
            }
            let new = wish.fresh.uuid(&format!("connection {}", fact.value)).to_string();
            draft.change(&fact.kind, place, old, Some(&new), "no two connections have one UUID");
            fresh.insert(fact.value.clone(), new);
        }
        if wish.purpose == Purpose::Generalise {
            let is_gone = |number| facts.iter().any(|fact| fact.line == number);
            let judge = |number, _: &str| if is_gone(number) { Line::Drop } else { Line::Keep };
            draft.set_text(path, change_lines(&text, judge));
        }
    }
    for (path, _) in files.iter().filter(|_| !fresh.is_empty()) {
        let Ok(mut text) = draft.text(path) else { continue };
        for (old, new) in &fresh {
            text = text::replace_word(&text, old, new, text::is_id_char);
        }
        draft.set_text(path, text);
    }
}

fn new_macs(path: &FilePath, format: Format, wish: &Wish, draft: &mut Draft<'_>) {
    let Some((mut text, facts)) = facts_in(path, format, &Kind::MAC, draft) else { return };
    for fact in facts {
        let place = place(path, &fact.key);
        let nic = wish.nics.iter().find(|nic| has_mac(nic, &fact.value));
        match nic.and_then(|nic| nic.new_mac.as_deref()) {
            Some(new) if !new.eq_ignore_ascii_case(&fact.value) => {
                let new = new.to_lowercase();
                // Written as it was: with dashes where those were used.
                let written = if fact.written.contains('-') { new.replace(':', "-") } else { new.clone() };
                text = replaced_on(&text, fact.line, &fact.written, &written);
                draft.change(&fact.kind, place, Some(&fact.value), Some(&new), "the card's new address");
            }
            Some(_) => {}
            None => draft.flag(&fact.kind, place, "no card of the machine has or had this address"),
        }
    }
    draft.set_text(path, text);
}

fn has_mac(nic: &NicWish, mac: &str) -> bool {
    nic.old_mac.as_deref().is_some_and(|old| old.replace('-', ":").eq_ignore_ascii_case(mac))
}

/// A template is about no card in particular.
fn forget_macs(path: &FilePath, format: Format, draft: &mut Draft<'_>) {
    let Some((text, facts)) = facts_in(path, format, &Kind::MAC, draft) else { return };
    let reason = "each machine made of the template has other cards";
    for fact in &facts {
        draft.change(&fact.kind, place(path, &fact.key), Some(&fact.value), None, reason);
    }
    if matches!(format, Format::Link | Format::Udev) {
        // All such a file says is about that card.
        draft.remove(path.clone());
        return;
    }
    let text = change_lines(&text, |number, line| {
        if !facts.iter().any(|fact| fact.line == number) {
            return Line::Keep;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        match format {
            // Without any match such a file would be about all cards, the loopback too.
            Format::Networkd => Line::Set(format!("{indent}Type=ether")),
            Format::Netplan => Line::Set(format!("{indent}name: \"e*\"")),
            _ => Line::Drop,
        }
    });
    let text = match format {
        Format::Netplan => text::map_lines(&text, |line| {
            let is_name = text::line_value(line, "set-name", text::Separator::Colon).is_some();
            if is_name { Line::Drop } else { Line::Keep }
        }),
        _ => text,
    };
    draft.set_text(path, text);
}

fn forget_client_ids(path: &FilePath, format: Format, draft: &mut Draft<'_>) {
    let Some((text, facts)) = facts_in(path, format, &Kind::DHCP_CLIENT_ID, draft) else { return };
    let reason = "a server gives one address to all who show one id";
    for fact in &facts {
        draft.change(&fact.kind, place(path, &fact.key), Some(&fact.value), None, reason);
    }
    let is_gone = |number| facts.iter().any(|fact| fact.line == number);
    draft.set_text(
        path,
        change_lines(&text, |number, _| if is_gone(number) { Line::Drop } else { Line::Keep }),
    );
}

fn new_addresses(path: &FilePath, format: Format, wish: &Wish, statics: usize, draft: &mut Draft<'_>) {
    let Ok(mut text) = draft.text(path) else { return };
    let sections = facts::sections(format, path, &text);
    // From the last to the first, so that the numbers of earlier lines stay true.
    for section in sections.into_iter().rev() {
        let nic = wish.nics.iter().find(|nic| is_of(nic, &section)).or(match wish.nics.as_slice() {
            // One card and one static address belong together, whatever they are called.
            [nic] if statics == 1 && !section.addresses.is_empty() => Some(nic),
            _ => None,
        });
        let wanted = match nic.map_or(&Address::Leave, |nic| &nic.address) {
            Address::Leave if wish.purpose == Purpose::Generalise && wish.does("net-address") => {
                if section.addresses.is_empty() { &Address::Leave } else { &Address::Dhcp }
            }
            wanted => wanted,
        };
        match wanted {
            Address::Leave => {
                for (key, value) in &section.addresses {
                    let why = if wish.purpose == Purpose::Generalise {
                        "a static address: all machines made of the template would have it"
                    } else if nic.is_some() || wish.nics.is_empty() {
                        "a static address: its source has it too; give another one or DHCP"
                    } else {
                        "a static address, and it is not clear of which card"
                    };
                    if wish.purpose != Purpose::Reset {
                        draft.flag(&Kind::STATIC_ADDRESS, place(path, key), format!("{value} is {why}"));
                    }
                }
            }
            Address::Dhcp | Address::Static(_) => {
                let new_text = address::set(format, &text, &section, wanted);
                if new_text == text {
                    continue;
                }
                text = new_text;
                note_addresses(path, format, &section, wanted, &text, draft);
            }
        }
    }
    if draft.text(path).is_ok_and(|was| was != text) {
        draft.set_text(path, text);
    }
}

fn note_addresses(
    path: &FilePath,
    format: Format,
    section: &Section,
    wanted: &Address,
    text: &str,
    draft: &mut Draft<'_>,
) {
    let reason = match wanted {
        Address::Dhcp => "the machine asks DHCP for its own address",
        Address::Leave | Address::Static(_) => "the card's new address",
    };
    let new = match wanted {
        Address::Static(new) => Some(new),
        Address::Leave | Address::Dhcp => None,
    };
    let shown = new.map(|new| new.address.to_string());
    let key_of_new = shown.as_ref().and_then(|shown| {
        let facts = facts::facts(format, text);
        facts.into_iter().find(|fact| bare(&fact.value) == shown).map(|fact| (fact.key, fact.value))
    });
    for (number, (key, old)) in section.addresses.iter().enumerate() {
        let is_same_place = key_of_new.as_ref().is_some_and(|(new_key, _)| number == 0 && new_key == key);
        let value = key_of_new.as_ref().filter(|_| is_same_place).map(|(_, value)| value.as_str());
        draft.change(&Kind::STATIC_ADDRESS, place(path, key), Some(old), value, reason);
        in_hosts(bare(old), shown.as_deref(), draft);
    }
    if let Some((key, value)) = key_of_new
        && section.addresses.first().is_none_or(|(old_key, _)| *old_key != key)
    {
        draft.change(&Kind::STATIC_ADDRESS, place(path, &key), None, Some(&value), reason);
    }
}

/// An address without its prefix.
fn bare(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}

/// `/etc/hosts` names the machine by its address.
fn in_hosts(old: &str, new: Option<&str>, draft: &mut Draft<'_>) {
    let Ok(hosts) = FilePath::new("/etc/hosts") else { return };
    let Ok(text) = draft.text(&hosts) else { return };
    if old.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
        return;
    }
    let changed = text::map_lines(&text, |line| {
        let is_ours = line.split_whitespace().next() == Some(old);
        match new {
            _ if !is_ours => Line::Keep,
            Some(new) => Line::Set(line.replacen(old, new, 1)),
            None => Line::Drop,
        }
    });
    if changed != text {
        draft.set_text(&hosts, changed);
    }
}

fn is_of(nic: &NicWish, section: &Section) -> bool {
    let is_by_mac = section.mac.as_deref().is_some_and(|mac| {
        has_mac(nic, mac) || nic.new_mac.as_deref().is_some_and(|new| new.eq_ignore_ascii_case(mac))
    });
    let is_by_name = nic.interface.is_some() && nic.interface == section.interface;
    // One that is known by its name alone has that name, whatever address the file matches.
    let is_named = nic.old_mac.is_none() && nic.new_mac.is_none();
    is_by_mac || (is_by_name && (section.mac.is_none() || is_named))
}
