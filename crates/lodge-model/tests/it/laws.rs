//! Laws of reading and writing, on documents put together at random.

#![expect(clippy::assigning_clones, reason = "a list of like lines")]

use crate::corpus::documents;
use lodge_model::domain::{Domain, Platform};
use lodge_model::network::Network;
use lodge_model::xml::WriteOptions;
use lodge_model::{Bytes, DomainId};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use std::fs;
use std::sync::LazyLock;

/// Everything is written: what lives, and secrets.
const ALL: WriteOptions = WriteOptions { inactive: false, security_info: true, migratable: false };

static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let texts = documents("corpus", 25)
        .into_iter()
        .map(|(_, path)| fs::read_to_string(path).expect("it can be read"));
    texts.chain([include_str!("../corpus/live.xml").to_owned()]).collect()
});

static DOMAINS: LazyLock<Vec<Domain>> =
    LazyLock::new(|| TEXTS.iter().filter_map(|text| Domain::parse(text).ok()).collect());

/// Any text that XML can hold; an empty or blank one means the same as none.
fn text() -> impl Strategy<Value = String> {
    "[\\PC\n\t]{0,12}[<>&'\"a-z]{1,6}"
}

/// A domain of devices and parts of all documents of the corpus.
fn domain() -> impl Strategy<Value = Domain> {
    let strings = (text(), proptest::option::of(text()), proptest::option::of(text()));
    let devices = proptest::collection::vec(any::<Index>(), 0..24);
    let parts = proptest::collection::vec(any::<Index>(), 8);
    (strings, any::<u128>(), 1..=(1_u64 << 40), devices, parts).prop_map(
        |((name, title, description), uuid, kib, devices, parts)| {
            let part = |at: usize| parts[at].get(&DOMAINS);
            let mut domain = part(0).clone();
            domain.name = name;
            (domain.title, domain.description) = (title, description.clone());
            domain.uuid = Some(DomainId(uuid::Uuid::from_u128(uuid)));
            domain.memory = Bytes::from_kib(kib).into();
            domain.features = part(1).features.clone();
            domain.cpu = part(2).cpu.clone();
            domain.clock = part(3).clone().clock;
            domain.sysinfo = part(4).sysinfo.clone();
            domain.metadata = part(5).metadata.clone();
            domain.memory_backing = part(6).memory_backing.clone();
            domain.os = part(7).os.clone();
            domain.os.cmdline = description;
            for (at, index) in devices.iter().enumerate() {
                let other = &index.get(&DOMAINS).devices;
                let own = &mut domain.devices;
                macro_rules! take {
                    ($($list:ident),*) => {
                        match at % 12 {
                            0 => own.memballoon = other.memballoon.clone(),
                            _ => { $(own.$list.extend(other.$list.get(at % 5).cloned());)* }
                        }
                    };
                }
                take!(
                    disks,
                    controllers,
                    interfaces,
                    serials,
                    consoles,
                    channels,
                    inputs,
                    graphics,
                    videos,
                    sounds,
                    rngs
                );
            }
            domain
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_written_reads_as_the_same(domain in domain()) {
        let text = domain.to_xml(&ALL);
        let read = Domain::parse(&text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?;
        prop_assert_eq!(&read, &domain);
        prop_assert_eq!(read.to_xml(&ALL), text);
    }

    #[test]
    fn completing_is_stable(mut domain in domain()) {
        let platform = Platform::default();
        if domain.complete(&platform).is_ok() {
            let once = domain.clone();
            domain.complete(&platform).map_err(|faults| TestCaseError::fail(faults.to_string()))?;
            prop_assert_eq!(domain, once);
        }
    }

    /// Damaged documents: never a panic, and what is still read is also written.
    #[test]
    fn damaged_documents_are_survived(
        at in any::<Index>(),
        cuts in proptest::collection::vec((any::<Index>(), 0..20_usize, subsequence(PIECES.to_vec(), 0..2)), 1..6),
    ) {
        let mut text: Vec<char> = at.get(&TEXTS).chars().collect();
        for (from, length, pieces) in cuts {
            let from = from.index(text.len().max(1)).min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, pieces.concat().chars());
        }
        let text: String = text.into_iter().collect();
        let _ = Domain::judge(&text, true, &Platform::default());
        if let Ok(domain) = Domain::parse(&text) {
            let written = domain.to_xml(&ALL);
            let again = Domain::parse(&written).map_err(|faults| TestCaseError::fail(format!("{faults}\n{written}")))?;
            prop_assert_eq!(again, domain);
            let _ = Domain::judge(&text, false, &Platform::default());
        }
        if let Ok(network) = Network::parse(&text.replace("domain", "network")) {
            let _ = network.check();
        }
    }
}

/// What damage is made of.
const PIECES: [&str; 12] = [
    "'",
    "\"",
    "<",
    "/>",
    "<a/>",
    " x='1'",
    "&amp;",
    "<!-- -->",
    "99999999999",
    "0x",
    "\u{e9}",
    "<![CDATA[x]]>",
];

/// What fuzzing found once.
#[test]
fn texts_that_were_once_read_wrongly_are_read_right() {
    for text in [
        "<domain type='qemu' a='\u{7f}'/>",
        "<domain type='qemu'><name name='1:1'/></domain>",
        "<domain type='qemu'><os><type>\n a <b/> c </type></os></domain>",
    ] {
        let domain = Domain::parse(text).expect("it is read");
        let written = domain.to_xml(&ALL);
        assert_eq!(Domain::parse(&written).expect("it is read again"), domain, "{written}");
    }
}

#[test]
fn a_card_with_nothing_but_zeros_gets_an_address() {
    let text = "<domain type='qemu'><name>g</name><memory>1024</memory><os><type>hvm</type></os>\
                <devices><interface type='user'><mac address='00:00:00:00:00:00'/></interface></devices></domain>";
    let domain = Domain::judge(text, false, &Platform::default()).expect("it is taken");
    let mac = domain.devices.interfaces[0].mac().expect("it has one");
    assert!(mac.to_string().starts_with("52:54:00:"), "{mac}");
}
