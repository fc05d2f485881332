//! The rules that keep a guest from passing for another, as nft's text. Pure.
//!
//! A guest is its hardware address, which the host gave it: leases and names hang on that. So the address of each guest
//! comes from its own port alone: as the sender of a frame (else the bridge would learn a thief's port for it), and
//! inside a DHCP message (else a thief could end a lease or take it over). Addresses that are no guest's of the same bridge
//! pass: a guest may bridge guests of its own, or two networks. What comes in pieces could hide the address from the rules, and no DHCP message
//! does.
//!
//! Frames are judged before the bridge learns from them (priority -300). The rules are the same for every bridge and
//! look into sets, so a guest that comes or goes changes elements alone, and costs the same beside ten guests or ten
//! thousand. Deliberately absent: libvirt's network filters, and addresses of the network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use lodge_model::MacAddr;
use serde_json::Value;

use super::Port;

/// The chain and the sets of each bridge; its number follows.
const CHAIN: &str = "bridge";
const SETS: [(&str, &str); 4] = [
    ("guests", "type ether_addr"),
    ("places", "type ether_addr . ifname"),
    // `chaddr` stands 8 bytes of UDP and 28 of DHCP behind the IP header, RFC 2131 section 2.
    ("clients", "typeof @th,288,48"),
    ("leases", "typeof @th,288,48 . meta iifname"),
];
/// From a port's name to its bridge's chain.
const WAYS: &str = "ways";

/// The ports that are guarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Guards {
    bridges: BTreeMap<String, Bridge>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bridge {
    number: usize,
    /// Each hardware address with its ports, for two guests may have one.
    guests: BTreeMap<MacAddr, BTreeSet<String>>,
}

/// The elements of each set, in nft's words.
type Elements = BTreeMap<String, BTreeSet<String>>;

/// How the kernel lists the rules, apart from elements and handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    common: Vec<String>,
    bridge: Vec<String>,
}

impl Guards {
    /// Those of `ports`, where bridges that were there `before` keep their numbers.
    pub fn of(ports: &[Port], before: &Self) -> Self {
        let mut guests: BTreeMap<&str, BTreeMap<MacAddr, BTreeSet<String>>> = BTreeMap::new();
        // A name that nft's text cannot hold is none that this program gives.
        for port in ports.iter().filter(|port| !port.ifname.contains(crate::plan::QUOTING)) {
            let of_bridge = guests.entry(&port.bridge).or_default();
            of_bridge.entry(port.mac).or_default().insert(port.ifname.clone());
        }
        let old = |name: &str| before.bridges.get(name).map(|bridge| bridge.number);
        let mut taken: BTreeSet<usize> = before.bridges.values().map(|bridge| bridge.number).collect();
        let mut bridges = BTreeMap::new();
        for (name, guests) in guests {
            let number = old(name).unwrap_or_else(|| {
                let free = (0..=taken.len()).find(|number| !taken.contains(number));
                let free = free.expect("not all of one number more are taken");
                taken.insert(free);
                free
            });
            bridges.insert(name.to_owned(), Bridge { number, guests });
        }
        Self { bridges }
    }

    pub fn is_empty(&self) -> bool {
        self.bridges.is_empty()
    }

    /// A script that puts these in the place of whatever the table holds; without any the table goes.
    pub fn whole(&self, table: &str) -> String {
        let mut text = format!("table bridge {table}\ndelete table bridge {table}\n");
        if self.is_empty() {
            return text;
        }
        write!(
            text,
            "table bridge {table} {{\n\
             \tmap {WAYS} {{\n\t\ttype ifname : verdict\n\t}}\n\
             \tchain prerouting {{\n\
             \t\ttype filter hook prerouting priority -300; policy accept;\n\
             \t\tiifname vmap @{WAYS}\n\
             \t}}\n}}\n"
        )
        .expect("a String takes all");
        text + &self.change(&Self::default(), table)
    }

    /// A script that makes these out of those `before`; empty if they are the same.
    pub fn change(&self, before: &Self, table: &str) -> String {
        let numbers = |guards: &Self| -> BTreeSet<usize> {
            guards.bridges.values().map(|bridge| bridge.number).collect()
        };
        let (now, then) = (numbers(self), numbers(before));
        let mut text = String::new();
        for number in now.difference(&then) {
            add_bridge(&mut text, table, *number);
        }
        let (wanted, had) = (self.elements(), before.elements());
        // What goes before what comes: a port may change its bridge.
        each_change(&mut text, ("delete", table), &had, &wanted);
        each_change(&mut text, ("add", table), &wanted, &had);
        for number in then.difference(&now) {
            writeln!(text, "delete chain bridge {table} {CHAIN}{number}").expect("a String takes all");
            for (set, _) in SETS {
                writeln!(text, "delete set bridge {table} {set}{number}").expect("a String takes all");
            }
        }
        text
    }

    fn elements(&self) -> Elements {
        let mut elements = Elements::new();
        for Bridge { number, guests } in self.bridges.values() {
            let mut add = |set: &str, element: String| {
                elements.entry(format!("{set}{number}")).or_default().insert(element);
            };
            for (mac, names) in guests {
                add("guests", mac.to_string());
                add("clients", hex(*mac));
                for name in names {
                    add("places", format!("{mac} . \"{name}\""));
                    add("leases", format!("{} . \"{name}\"", hex(*mac)));
                }
            }
            let ways = guests.values().flatten().map(|name| format!("\"{name}\" : jump {CHAIN}{number}"));
            elements.entry(WAYS.to_owned()).or_default().extend(ways);
        }
        elements
    }

    /// How the kernel, asked in JSON, lists the table, if it holds just these; rules that others have put in are part of
    /// the shape. `None`: an element is missing or one too many, or one bridge has other rules than the next.
    pub fn shape_in(&self, listing: &str) -> Option<Shape> {
        let listing: Value = serde_json::from_str(listing).ok()?;
        let (mut common, mut elements) = (Vec::new(), Elements::new());
        let mut bridges: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for object in listing.get("nftables")?.as_array()? {
            let (kind, mut object) =
                object.as_object()?.iter().next().map(|(kind, it)| (kind, it.clone()))?;
            if matches!(kind.as_str(), "metainfo" | "table") {
                continue;
            }
            let fields = object.as_object_mut()?;
            fields.remove("handle");
            let held = fields.remove("elem");
            let name = fields.get(if kind == "rule" { "chain" } else { "name" })?.as_str()?.to_owned();
            if matches!(kind.as_str(), "set" | "map") {
                let held = held.as_ref().and_then(Value::as_array).into_iter().flatten();
                let held = held.map(element_of).collect::<Option<BTreeSet<String>>>()?;
                if !held.is_empty() {
                    elements.insert(name.clone(), held);
                }
            }
            let text = format!("{kind} {object}");
            match number_of(&name) {
                Some(number) => {
                    let without = |text: String, word: &str| {
                        text.replace(&format!("{word}{number}\""), &format!("{word}\""))
                    };
                    let words = SETS.iter().map(|(set, _)| *set).chain([CHAIN]);
                    bridges.entry(number).or_default().push(words.fold(text, without));
                }
                None => common.push(text),
            }
        }
        let numbers: BTreeSet<usize> = self.bridges.values().map(|bridge| bridge.number).collect();
        let mut shapes = bridges.values();
        let bridge = shapes.next().cloned().unwrap_or_default();
        let whole = elements == self.elements()
            && bridges.keys().copied().collect::<BTreeSet<_>>() == numbers
            && shapes.all(|other| *other == bridge);
        whole.then_some(Shape { common, bridge })
    }
}

fn hex(mac: MacAddr) -> String {
    format!("0x{}", mac.to_string().replace(':', ""))
}

/// The number of the bridge that a chain or set of ours belongs to.
fn number_of(name: &str) -> Option<usize> {
    let mut words = SETS.iter().map(|(set, _)| *set).chain([CHAIN]);
    words.find_map(|word| name.strip_prefix(word)?.parse().ok())
}

/// An element in nft's words.
fn element_of(element: &Value) -> Option<String> {
    let part = |part: &Value| match part {
        Value::Number(number) => number.as_u64().map(|number| format!("0x{number:012x}")),
        // Addresses are as they are, names in quotes.
        Value::String(text) if text.parse::<MacAddr>().is_ok() => Some(text.to_lowercase()),
        Value::String(text) => Some(format!("\"{text}\"")),
        _ => None,
    };
    match element {
        Value::Array(way) => {
            let [name, verdict] = way.as_slice() else { return None };
            let chain = verdict.pointer("/jump/target")?.as_str()?;
            Some(format!("{} : jump {chain}", part(name)?))
        }
        Value::Object(object) => {
            let parts: Option<Vec<String>> = object.get("concat")?.as_array()?.iter().map(part).collect();
            Some(parts?.join(" . "))
        }
        other => part(other),
    }
}

/// `add element` or `delete element` for what is in `of` and not in `but`.
fn each_change(text: &mut String, (act, table): (&str, &str), of: &Elements, but: &Elements) {
    let none = BTreeSet::new();
    for (set, elements) in of {
        let changed: Vec<&str> =
            elements.difference(but.get(set).unwrap_or(&none)).map(String::as_str).collect();
        if !changed.is_empty() {
            writeln!(text, "{act} element bridge {table} {set} {{ {} }}", changed.join(", "))
                .expect("a String takes all");
        }
    }
}

/// What holds for frames from the guests of one bridge.
fn add_bridge(text: &mut String, table: &str, number: usize) {
    writeln!(text, "table bridge {table} {{").expect("a String takes all");
    for (set, kind) in SETS {
        write!(text, "\tset {set}{number} {{\n\t\t{kind}\n\t}}\n").expect("a String takes all");
    }
    write!(
        text,
        "\tchain {CHAIN}{number} {{\n\
         \t\tether saddr @guests{number} ether saddr . iifname != @places{number} drop\n\
         \t\tudp dport 67 ip frag-off & 0x3fff != 0 drop\n\
         \t\tudp dport 67 @th,288,48 @clients{number} @th,288,48 . iifname != @leases{number} drop\n\
         \t}}\n}}\n"
    )
    .expect("a String takes all");
}

#[cfg(test)]
mod tests;
