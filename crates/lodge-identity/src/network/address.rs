//! One card's addresses, written anew: what was said of them goes, what is wanted comes.

use super::{Format, facts::Section};
use crate::{Address, StaticAddress, text};

/// The text with one section's addresses as wanted.
pub(super) fn set(format: Format, whole: &str, section: &Section, wanted: &Address) -> String {
    let lines: Vec<&str> = whole.lines().collect();
    let Some(own) = lines.get(section.lines.clone()) else { return whole.to_owned() };
    let fixed = match wanted {
        Address::Leave => return whole.to_owned(),
        Address::Dhcp => None,
        Address::Static(fixed) => Some(fixed),
    };
    let new = match format {
        Format::Ifcfg => ifcfg(own, fixed),
        Format::Keyfile => keyfile(own, fixed),
        Format::Networkd => networkd(own, fixed),
        Format::Interfaces => interfaces(own, fixed),
        Format::Netplan => netplan(own, fixed),
        Format::Link | Format::Udev => return whole.to_owned(),
    };
    let mut all: Vec<String> = lines[..section.lines.start].iter().map(|line| (*line).to_owned()).collect();
    all.extend(new);
    all.extend(lines[section.lines.end..].iter().map(|line| (*line).to_owned()));
    let mut text = all.join("\n");
    text.push('\n');
    text
}

fn key(line: &str) -> &str {
    line.split_once('=').map_or("", |(key, _)| key.trim())
}

fn netmask(prefix: u8) -> String {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or_default();
    std::net::Ipv4Addr::from(bits).to_string()
}

fn ifcfg(lines: &[&str], fixed: Option<&StaticAddress>) -> Vec<String> {
    // SUSE and netctl write otherwise than RHEL; each keeps its own words.
    let is_netctl = lines.iter().any(|line| key(line) == "Connection" || key(line) == "Interface");
    if is_netctl {
        return netctl(lines, fixed);
    }
    let is_v6 = fixed.is_some_and(|fixed| fixed.address.is_ipv6());
    let drops = |name: &str| {
        ["IPADDR", "PREFIX", "NETMASK", "NETWORK", "BROADCAST", "IPV6ADDR"]
            .iter()
            .any(|key| name.starts_with(key))
            || (fixed.is_none_or(|fixed| fixed.gateway.is_some())
                && (name.starts_with("GATEWAY") || name.starts_with("IPV6_DEFAULTGW")))
            || name == "BOOTPROTO"
    };
    let mut new: Vec<String> =
        lines.iter().filter(|line| !drops(key(line))).map(|line| (*line).to_owned()).collect();
    match fixed {
        None => new.push("BOOTPROTO=dhcp".to_owned()),
        Some(fixed) if is_v6 => {
            new.push("BOOTPROTO=none".to_owned());
            new.push(format!("IPV6ADDR={}/{}", fixed.address, fixed.prefix));
            new.extend(fixed.gateway.map(|gateway| format!("IPV6_DEFAULTGW={gateway}")));
        }
        Some(fixed) => {
            new.push("BOOTPROTO=none".to_owned());
            new.push(format!("IPADDR={}", fixed.address));
            new.push(format!("PREFIX={}", fixed.prefix));
            new.push(format!("NETMASK={}", netmask(fixed.prefix)));
            new.extend(fixed.gateway.map(|gateway| format!("GATEWAY={gateway}")));
        }
    }
    new
}

fn netctl(lines: &[&str], fixed: Option<&StaticAddress>) -> Vec<String> {
    let mut new: Vec<String> = lines
        .iter()
        .filter(|line| !matches!(key(line), "IP" | "IP6" | "Address" | "Address6" | "Gateway" | "Gateway6"))
        .map(|line| (*line).to_owned())
        .collect();
    match fixed {
        None => new.push("IP=dhcp".to_owned()),
        Some(fixed) => {
            let tail = if fixed.address.is_ipv6() { "6" } else { "" };
            new.push(format!("IP{tail}=static"));
            new.push(format!("Address{tail}=('{}/{}')", fixed.address, fixed.prefix));
            new.extend(fixed.gateway.map(|gateway| format!("Gateway{tail}='{gateway}'")));
        }
    }
    new
}

/// Lines of an ini file's sections judged one by one, and more lines put behind a section's header.
fn ini(lines: &[&str], section: &str, keeps: impl Fn(&str, &str) -> bool, more: Vec<String>) -> Vec<String> {
    let mut new = Vec::new();
    let mut here = "";
    let mut more = Some(more);
    for line in lines {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name;
            new.push((*line).to_owned());
            if here == section {
                new.extend(more.take().unwrap_or_default());
            }
        } else if keeps(here, key(line)) {
            new.push((*line).to_owned());
        }
    }
    if let Some(more) = more.filter(|more| !more.is_empty()) {
        new.push(format!("[{section}]"));
        new.extend(more);
    }
    new
}

fn keyfile(lines: &[&str], fixed: Option<&StaticAddress>) -> Vec<String> {
    let in_family = |lines: &[&str], family: &str, more: Vec<String>| {
        let keeps = |here: &str, key: &str| {
            here != family || !(key == "method" || key == "gateway" || key.starts_with("address"))
        };
        ini(lines, family, keeps, more)
    };
    let auto = || vec!["method=auto".to_owned()];
    let Some(fixed) = fixed else {
        let new = in_family(lines, "ipv4", auto());
        // The other family is only touched where it has an address of its own.
        let has_v6 =
            lines.iter().any(|line| key(line).starts_with("address") && line.matches(':').count() > 1);
        let lines: Vec<&str> = new.iter().map(String::as_str).collect();
        return if has_v6 { in_family(&lines, "ipv6", auto()) } else { new };
    };
    let gateway = fixed.gateway.map(|gateway| format!(",{gateway}")).unwrap_or_default();
    let family = if fixed.address.is_ipv6() { "ipv6" } else { "ipv4" };
    let address = format!("address1={}/{}{gateway}", fixed.address, fixed.prefix);
    in_family(lines, family, vec!["method=manual".to_owned(), address])
}

fn networkd(lines: &[&str], fixed: Option<&StaticAddress>) -> Vec<String> {
    let has_gateway = fixed.is_none_or(|fixed| fixed.gateway.is_some());
    let keeps = |here: &str, key: &str| match here {
        "Network" => !(key == "Address" || key == "DHCP" || (key == "Gateway" && has_gateway)),
        // An `[Address]` of its own is emptied; without `Address=` networkd passes it over.
        "Address" => key != "Address",
        _ => true,
    };
    let more = match fixed {
        None => vec!["DHCP=yes".to_owned()],
        Some(fixed) => {
            let mut more = vec![format!("Address={}/{}", fixed.address, fixed.prefix)];
            more.extend(fixed.gateway.map(|gateway| format!("Gateway={gateway}")));
            more
        }
    };
    ini(lines, "Network", keeps, more)
}

fn interfaces(lines: &[&str], fixed: Option<&StaticAddress>) -> Vec<String> {
    let gone = ["address", "netmask", "gateway", "broadcast", "network"];
    let keeps_gateway = fixed.is_some_and(|fixed| fixed.gateway.is_none());
    let mut new = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["iface", name, ..] => match fixed {
                None => {
                    let family = words.get(2).copied().unwrap_or("inet");
                    let method = if family == "inet6" { "auto" } else { "dhcp" };
                    new.push(format!("iface {name} {family} {method}"));
                }
                Some(fixed) => {
                    let family = if fixed.address.is_ipv6() { "inet6" } else { "inet" };
                    new.push(format!("iface {name} {family} static"));
                    new.push(format!("    address {}/{}", fixed.address, fixed.prefix));
                    new.extend(fixed.gateway.map(|gateway| format!("    gateway {gateway}")));
                }
            },
            ["gateway", ..] if keeps_gateway => new.push((*line).to_owned()),
            [word, ..] if gone.contains(word) => {}
            _ => new.push((*line).to_owned()),
        }
    }
    new
}

fn netplan(lines: &[&str], fixed: Option<&StaticAddress>) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let Some((head, rest)) = lines.split_first() else { return Vec::new() };
    let is_line = |line: &&&str| !line.trim().is_empty() && !line.trim().starts_with('#');
    // The first line below the device's name tells how deep its keys stand.
    let depth = rest.iter().find(is_line).map_or(indent(head) + 2, |line| indent(line));
    let keeps_routes = fixed.is_some_and(|fixed| fixed.gateway.is_none());
    let mut gone = vec!["addresses", "dhcp4", "dhcp6"];
    if !keeps_routes {
        gone.extend(["gateway4", "gateway6", "routes"]);
    }
    let mut new = vec![(*head).to_owned()];
    let mut is_gone = false;
    for line in rest {
        let body = line.trim();
        if indent(line) <= depth && !body.is_empty() && !body.starts_with("- ") {
            let name = body.split(':').next().map(text::unquote).unwrap_or_default();
            is_gone = gone.contains(&name);
        }
        if !is_gone {
            new.push((*line).to_owned());
        }
    }
    let pad = " ".repeat(depth);
    match fixed {
        None => new.push(format!("{pad}dhcp4: true")),
        Some(fixed) => {
            new.push(format!("{pad}dhcp4: false"));
            new.push(format!("{pad}addresses:"));
            new.push(format!("{pad}- \"{}/{}\"", fixed.address, fixed.prefix));
            if let Some(gateway) = fixed.gateway {
                new.push(format!("{pad}routes:"));
                new.push(format!("{pad}- to: {}", if gateway.is_ipv6() { "\"::/0\"" } else { "0.0.0.0/0" }));
                new.push(format!("{pad}  via: \"{gateway}\""));
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use lodge_model::guest_disk::FilePath;

    use super::*;
    use crate::network::facts::sections;

    fn fixed() -> Address {
        Address::Static(StaticAddress {
            address: "198.51.100.7".parse().unwrap(),
            prefix: 24,
            gateway: Some("198.51.100.1".parse().unwrap()),
        })
    }

    fn both(format: Format, text: &str) -> [String; 2] {
        let path = FilePath::new("/x/ifcfg-eth0").unwrap();
        [Address::Dhcp, fixed()].map(|wanted| {
            let section = sections(format, &path, text).pop().unwrap();
            set(format, text, &section, &wanted)
        })
    }

    #[test]
    fn every_format_takes_dhcp_and_a_static_address() {
        let table = [
            (
                Format::Ifcfg,
                "DEVICE=eth0\nBOOTPROTO=none\nIPADDR=192.0.2.9\nNETMASK=255.255.255.0\nGATEWAY=192.0.2.1\nDNS1=192.0.2.2\n",
                "DEVICE=eth0\nDNS1=192.0.2.2\nBOOTPROTO=dhcp\n",
                "DEVICE=eth0\nDNS1=192.0.2.2\nBOOTPROTO=none\nIPADDR=198.51.100.7\nPREFIX=24\nNETMASK=255.255.255.0\nGATEWAY=198.51.100.1\n",
            ),
            (
                Format::Keyfile,
                "[connection]\nid=a\n[ipv4]\naddress1=192.0.2.9/24,192.0.2.1\ndns=192.0.2.2;\nmethod=manual\n[ipv6]\nmethod=ignore\n",
                "[connection]\nid=a\n[ipv4]\nmethod=auto\ndns=192.0.2.2;\n[ipv6]\nmethod=ignore\n",
                "[connection]\nid=a\n[ipv4]\nmethod=manual\naddress1=198.51.100.7/24,198.51.100.1\ndns=192.0.2.2;\n[ipv6]\nmethod=ignore\n",
            ),
            (
                Format::Networkd,
                "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.9/24\nGateway=192.0.2.1\nDNS=192.0.2.2\n",
                "[Match]\nName=eth0\n[Network]\nDHCP=yes\nDNS=192.0.2.2\n",
                "[Match]\nName=eth0\n[Network]\nAddress=198.51.100.7/24\nGateway=198.51.100.1\nDNS=192.0.2.2\n",
            ),
            (
                Format::Interfaces,
                "auto eth0\niface eth0 inet static\n\taddress 192.0.2.9\n\tnetmask 255.255.255.0\n\tgateway 192.0.2.1\n\tmtu 1400\n",
                "auto eth0\niface eth0 inet dhcp\n\tmtu 1400\n",
                "auto eth0\niface eth0 inet static\n    address 198.51.100.7/24\n    gateway 198.51.100.1\n\tmtu 1400\n",
            ),
            (
                Format::Netplan,
                "network:\n  ethernets:\n    eth0:\n      addresses:\n        - 192.0.2.9/24\n      routes:\n      - to: default\n        via: 192.0.2.1\n      mtu: 1400\n",
                "network:\n  ethernets:\n    eth0:\n      mtu: 1400\n      dhcp4: true\n",
                "network:\n  ethernets:\n    eth0:\n      mtu: 1400\n      dhcp4: false\n      addresses:\n      - \"198.51.100.7/24\"\n      routes:\n      - to: 0.0.0.0/0\n        via: \"198.51.100.1\"\n",
            ),
        ];
        for (format, before, dhcp, fixed) in table {
            let [got_dhcp, got_fixed] = both(format, before);
            assert_eq!(got_dhcp, dhcp, "{format:?}");
            assert_eq!(got_fixed, fixed, "{format:?}");
        }
    }
}
