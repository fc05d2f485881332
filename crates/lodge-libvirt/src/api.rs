//! The names that libvirt's errors have: of the C API's functions, and of the functions of its drivers behind them.

use lodge_wire::Facts;

use crate::fault::Origin;

/// Words of a procedure's name that the C API writes otherwise than `Word`.
const WORDS: &[(&str, &str)] = &[
    ("XML", "XML"),
    ("UUID", "UUID"),
    ("ID", "ID"),
    ("OS", "OS"),
    ("CPU", "CPU"),
    ("FS", "FS"),
    ("IO", "IO"),
    ("IOTHREAD", "IOThread"),
    ("FSTRIM", "FSTrim"),
    ("FSFREEZE", "FSFreeze"),
    ("FSTHAW", "FSThaw"),
    ("FD", "FD"),
    ("TLS", "TLS"),
    ("SSH", "SSH"),
    ("DHCP", "DHCP"),
    ("NWFILTER", "NWFilter"),
    ("MAC", "MAC"),
    ("WWN", "WWN"),
    ("SEV", "SEV"),
    ("PM", "PM"),
    ("NUMA", "Numa"),
    ("ALLDOMAIN", "AllDomain"),
];

/// The C API's function of a procedure: `DOMAIN_CREATE_XML` is `virDomainCreateXML`.
pub(crate) fn function(facts: &Facts) -> String {
    let mut name = String::from("vir");
    if facts.program == lodge_wire::qemu::PROGRAM {
        return qemu_function(facts.name);
    }
    for word in facts.name.split('_') {
        push_word(&mut name, word);
    }
    name
}

fn push_word(name: &mut String, word: &str) {
    if let Some((_, known)) = WORDS.iter().find(|(wire, _)| *wire == word) {
        name.push_str(known);
        return;
    }
    let mut letters = word.chars();
    name.extend(letters.next());
    name.extend(letters.map(|letter| letter.to_ascii_lowercase()));
}

/// The extra library's names put `Qemu` behind the object.
fn qemu_function(procedure: &str) -> String {
    let mut name = String::from("vir");
    let mut words = procedure.split('_').peekable();
    let object = if procedure.starts_with("CONNECT_DOMAIN") { "ConnectDomainQemu" } else { "DomainQemu" };
    name.push_str(object);
    while matches!(words.peek(), Some(&("CONNECT" | "DOMAIN"))) {
        words.next();
    }
    words.for_each(|word| push_word(&mut name, word));
    name
}

/// The function of libvirt's driver behind a procedure, and the part of libvirt that it belongs to.
pub(crate) fn driver_function(facts: &Facts) -> (String, Origin) {
    let api = function(facts);
    let Some(tail) = api.strip_prefix("vir") else { return (api, Origin::Qemu) };
    let lower = |tail: &str| {
        let mut letters = tail.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let (_, origin) =
        facts.name.split_once('_').map_or(("", Origin::Qemu), |(object, _)| (object, origin_of(facts.name)));
    match origin {
        Origin::Qemu => (format!("qemu{tail}"), origin),
        Origin::Nwfilter => (tail.replacen("NWFilter", "nwfilter", 1), origin),
        _ => (lower(tail), origin),
    }
}

/// libvirt's part for an object, by a procedure's name.
fn origin_of(procedure: &str) -> Origin {
    let of = [
        ("NETWORK_", Origin::Network),
        ("STORAGE_", Origin::Storage),
        ("NODE_DEVICE_", Origin::Nodedev),
        ("SECRET_", Origin::Secret),
        ("NWFILTER_", Origin::Nwfilter),
        ("INTERFACE_", Origin::Interface),
    ];
    let found = of.into_iter().find(|(prefix, _)| procedure.starts_with(prefix));
    found.map_or(Origin::Qemu, |(_, origin)| origin)
}
