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
    ("NMI", "NMI"),
    ("FSINFO", "FSInfo"),
];

/// The C API's function of a procedure: `DOMAIN_CREATE_XML` is `virDomainCreateXML`.
pub(crate) fn function(facts: &Facts) -> String {
    match facts.program {
        lodge_wire::qemu::PROGRAM => return extra_function("Qemu", facts.name),
        lodge_wire::lxc::PROGRAM => return extra_function("Lxc", facts.name),
        _ if facts.name == "DOMAIN_SET_BLOCK_IO_TUNE" => return "virDomainSetBlockIoTune".to_owned(),
        _ => {}
    }
    let mut name = String::from("vir");
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

/// The extra libraries' names put the hypervisor behind the object.
fn extra_function(hypervisor: &str, procedure: &str) -> String {
    let mut words = procedure.split('_').peekable();
    let object = if procedure.starts_with("CONNECT_DOMAIN") { "ConnectDomain" } else { "Domain" };
    let mut name = format!("vir{object}{hypervisor}");
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
    let origin = driver(facts);
    match origin {
        Origin::Qemu => (format!("qemu{tail}"), origin),
        Origin::Storage if tail.starts_with("Connect") => (format!("storage{tail}"), origin),
        Origin::Nwfilter => (tail.replacen("NWFilter", "nwfilter", 1), origin),
        _ => (lower(tail), origin),
    }
}

/// libvirt's driver behind a procedure.
fn driver(facts: &Facts) -> Origin {
    match part(facts) {
        Origin::None | Origin::Domain | Origin::DomainSnapshot | Origin::DomainCheckpoint => Origin::Qemu,
        driver => driver,
    }
}

/// The part of the C library that a procedure's function belongs to: its own checks have that origin.
pub(crate) fn part(facts: &Facts) -> Origin {
    const PARTS: &[(&str, Origin)] = &[
        ("NETWORK_", Origin::Network),
        ("STORAGE_", Origin::Storage),
        ("CONNECT_FIND_STORAGE_", Origin::Storage),
        ("CONNECT_LIST_ALL_STORAGE_", Origin::Storage),
        ("CONNECT_GET_STORAGE_", Origin::Storage),
        ("NODE_DEVICE_", Origin::Nodedev),
        ("NODE_NUM_OF_DEVICES", Origin::Nodedev),
        ("NODE_LIST_DEVICES", Origin::Nodedev),
        ("SECRET_", Origin::Secret),
        ("NWFILTER_", Origin::Nwfilter),
        ("INTERFACE_", Origin::Interface),
        ("DOMAIN_SNAPSHOT_", Origin::DomainSnapshot),
        ("DOMAIN_REVERT_TO_SNAPSHOT", Origin::DomainSnapshot),
        ("DOMAIN_CHECKPOINT_", Origin::DomainCheckpoint),
    ];
    if facts.program != lodge_wire::remote::PROGRAM {
        return Origin::None;
    }
    let found = PARTS.iter().find(|(prefix, _)| facts.name.starts_with(prefix));
    found.map_or(Origin::Domain, |(_, origin)| *origin)
}

#[cfg(test)]
mod tests {
    use lodge_wire::{lxc, qemu, remote};

    use super::*;

    #[test]
    fn names_and_origins_are_libvirtds() {
        let facts = |procedure: &str| {
            let remote = remote::Procedure::ALL.iter().map(|procedure| procedure.facts());
            let qemu = qemu::Procedure::ALL.iter().map(|procedure| procedure.facts());
            let lxc = lxc::Procedure::ALL.iter().map(|procedure| procedure.facts());
            remote.chain(qemu).chain(lxc).find(|facts| facts.name == procedure).unwrap()
        };
        let seen = include_str!("../tests/facts/denied.txt");
        for line in seen.lines().filter(|line| !line.starts_with('#')) {
            let [procedure, origin, name] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let facts = facts(procedure);
            assert_eq!((function(facts).as_str(), part(facts).number().to_string().as_str()), (name, origin));
        }
    }

    #[test]
    fn drivers_functions_have_their_drivers_prefix() {
        let of = |procedure: remote::Procedure| driver_function(procedure.facts());
        assert_eq!(of(remote::Procedure::DomainGetState), ("qemuDomainGetState".to_owned(), Origin::Qemu));
        assert_eq!(
            of(remote::Procedure::NetworkGetXmlDesc),
            ("networkGetXMLDesc".to_owned(), Origin::Network)
        );
        assert_eq!(
            of(remote::Procedure::StoragePoolCreate),
            ("storagePoolCreate".to_owned(), Origin::Storage)
        );
    }
}
