//! Values that a template leaves empty, to be filled before a machine of it is of use.

use super::{
    Item, Kind, State,
    seen::Seen,
    text::{self, Separator},
};

const KEYS: &[(&str, Separator, &[&str])] = &[
    (
        "/etc/sysconfig/network-scripts/ifcfg-*",
        Separator::Equals,
        &["IPADDR", "PREFIX", "NETMASK", "GATEWAY", "DEVICE", "BOOTPROTO", "HWADDR", "UUID", "DNS1"],
    ),
    (
        "/etc/sysconfig/network/ifcfg-*",
        Separator::Equals,
        &["IPADDR", "NETMASK", "PREFIXLEN", "BOOTPROTO", "LLADDR"],
    ),
    ("/etc/iscsi/initiatorname.iscsi", Separator::Equals, &["InitiatorName"]),
    ("/etc/systemd/network/*.network", Separator::Equals, &["Address", "Gateway", "Name"]),
    ("/etc/NetworkManager/system-connections/*", Separator::Equals, &["address1", "uuid", "interface-name"]),
    ("/etc/network/interfaces", Separator::Blank, &["address", "netmask", "gateway"]),
    ("/etc/network/interfaces.d/*", Separator::Blank, &["address", "netmask", "gateway"]),
];

/// Where cloud-init's configuration is, and where its data may come from without any.
const CLOUD: &[&str] = &["/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*.cfg"];
const SEEDS: &[&str] = &["/var/lib/cloud/seed/*/meta-data", "/var/lib/cloud/seed/*/user-data"];

pub(crate) const WANTED: &[&str] = &[CLOUD[0], CLOUD[1], SEEDS[0], SEEDS[1]];

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    for (pattern, separator, keys) in KEYS {
        for path in seen.matching_any(&[pattern]).into_keys() {
            let Some(text) = path.as_str().and_then(|path| seen.text(path)) else { continue };
            for line in text.lines() {
                let Some(key) = keys.iter().find(|key| is_empty(line, key, *separator)) else { continue };
                let place = format!("{path}: {key}");
                found.push(
                    Item::absent(Kind::TEMPLATE_VALUE, place, State::Empty).noting("nothing stands there"),
                );
            }
        }
    }
    cloud(seen, found);
}

fn is_empty(line: &str, key: &str, separator: Separator) -> bool {
    let value = text::line_value(line, key, separator);
    match separator {
        // A word alone on its line.
        Separator::Blank => line.trim() == key,
        Separator::Equals | Separator::Colon => value.is_some_and(|value| text::unquote(value).is_empty()),
    }
}

/// cloud-init without any source of data does nothing: `datasource_list: []`, or `None` alone.
fn cloud(seen: &Seen<'_>, found: &mut Vec<Item>) {
    if !seen.matching_any(SEEDS).is_empty() {
        return;
    }
    for path in seen.matching_any(CLOUD).into_keys() {
        let Some(text) = path.as_str().and_then(|path| seen.text(path)) else { continue };
        let list = text.lines().find_map(|line| text::line_value(line, "datasource_list", Separator::Colon));
        let Some(list) = list else { continue };
        let mut names = list.trim_matches(['[', ']']).split(',').map(|name| text::unquote(name.trim()));
        if list.starts_with('[') && names.all(|name| name.is_empty() || name == "None") {
            let place = format!("{path}: datasource_list");
            let note = "cloud-init has no source of data and will do nothing";
            found.push(Item::absent(Kind::TEMPLATE_VALUE, place, State::Empty).noting(note));
        }
    }
}
