//! What the fuzzer calls, with documents of the corpus of which a few places are others: for a toolchain without one.
//!
//! `LODGE_FUZZ_SECONDS` makes it longer, `LODGE_FUZZ_SEED` other. A document that panics is printed.

#![expect(clippy::unwrap_used, reason = "tests: to panic is to fail")]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use lodge_model::domain::{Domain, Platform};
use lodge_model::fuzz;
use lodge_model::xml::WriteOptions;

/// Rounds without `LODGE_FUZZ_SECONDS`: the same ones everywhere.
const ROUNDS: u64 = 2000;
/// Far longer than any document of the corpus takes without optimization: what needs it does not end, or nearly not.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same rounds from the same seed.
struct Dice(fastrand::Rng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Changes a few places: values, elements left out, doubled, or put in from another document, single letters.
    fn mutate(&mut self, text: &mut String, corpus: &Corpus) {
        for _ in 0..=self.below(4) {
            match self.below(24) {
                0..=3 => {
                    if let Some(at) = self.place(&elements(text)) {
                        text.replace_range(at.0..at.1, "");
                    }
                }
                4..=6 => {
                    if let Some(at) = self.place(&elements(text)) {
                        let element = text[at.0..at.1].to_owned();
                        text.insert_str(at.1, &element);
                    }
                }
                7..=13 => {
                    // Into a parent that may have it: of the same name as its own.
                    if let Some((parent, element)) = self.place(&corpus.elements)
                        && let Some(at) = text.find(&format!("</{parent}>"))
                    {
                        text.insert_str(at, &element);
                    }
                }
                14..=21 => {
                    let values = values(text);
                    if let Some((name, from, to)) = self.place(&values) {
                        let other = corpus.values.get(&name);
                        let odd = self.one_of(ODD);
                        let value = match other {
                            Some(others) if self.below(3) > 0 => self.one_of(others),
                            _ => *odd,
                        };
                        text.replace_range(from..to, value);
                    }
                }
                22 => {
                    let at = self.letter(text);
                    let letter = *self.one_of(&['<', '>', '\'', '&', '/', '\u{e9}', '\0', '0', ' ', ':']);
                    text.insert(at, letter);
                }
                _ => {
                    let (from, to) = (self.letter(text), self.letter(text));
                    let to = to.min(from + 64);
                    if from < to && text.is_char_boundary(to) {
                        text.replace_range(from..to, "");
                    }
                }
            }
        }
    }

    fn place<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| self.one_of(all).clone())
    }

    fn letter(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    }
}

/// Values at the ends of what numbers, names and paths can be.
const ODD: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "0x0",
    "0xff",
    "0xffffffffffffffff",
    "1e9",
    " 1",
    "yes",
    "no",
    "on",
    "off",
    "auto",
    "none",
    "a",
    "..",
    "/",
    "vda",
    "sdzzzzzz",
    "52:54:00:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "0-4294967295",
    "0-3,^1",
    "&#10;",
    "&lt;",
    "host",
    "pcie-root",
    "pci-bridge",
    "virtio",
    "usb",
    "k",
    "EiB",
];

/// What is put in from elsewhere.
struct Corpus {
    /// A parent's name, and an element of it.
    elements: Vec<(String, String)>,
    /// By the attribute's name.
    values: BTreeMap<String, Vec<&'static str>>,
}

impl Corpus {
    fn of(texts: &'static [String]) -> Self {
        let (mut all, mut by_name) = (Vec::new(), BTreeMap::<String, Vec<&'static str>>::new());
        for text in texts {
            let document = roxmltree::Document::parse(text).unwrap();
            for node in document.descendants().filter(roxmltree::Node::is_element) {
                if let Some(parent) = node.parent_element() {
                    all.push((parent.tag_name().name().to_owned(), text[node.range()].to_owned()));
                }
                for attribute in node.attributes() {
                    let value = &text[attribute.range_value()];
                    by_name.entry(attribute.name().to_owned()).or_default().push(value);
                }
            }
        }
        Self { elements: all, values: by_name }
    }
}

/// Where the elements of a text are.
fn elements(text: &str) -> Vec<(usize, usize)> {
    let Ok(document) = roxmltree::Document::parse(text) else { return Vec::new() };
    let inner = document.descendants().filter(|node| node.is_element() && node.parent_element().is_some());
    inner.map(|node| (node.range().start, node.range().end)).collect()
}

/// Where the values of its attributes are.
fn values(text: &str) -> Vec<(String, usize, usize)> {
    let Ok(document) = roxmltree::Document::parse(text) else { return Vec::new() };
    let all = document.descendants().flat_map(|node| node.attributes().collect::<Vec<_>>());
    all.map(|attribute| {
        (attribute.name().to_owned(), attribute.range_value().start, attribute.range_value().end)
    })
    .collect()
}

fn texts() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.to_str().is_some_and(|path| path.ends_with(".in.xml") || path.ends_with(".refused.xml"))
    });
    paths.sort();
    let texts = paths.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.filter(|text| roxmltree::Document::parse(text).is_ok()).collect()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs the target; what it panics with is printed with the document.
fn run(text: &str) -> usize {
    let began = Instant::now();
    let Ok(stage) = catch_unwind(AssertUnwindSafe(|| fuzz::domain(text))) else {
        panic!("this document makes it panic:\n{text}")
    };
    assert!(began.elapsed() < PATIENCE, "this document takes {:?}:\n{text}", began.elapsed());
    usize::from(stage)
}

#[test]
fn documents_with_a_few_other_places_are_read_or_refused() {
    let texts: &'static [String] = Vec::leak(texts());
    let corpus = Corpus::of(texts);
    let mut dice = Dice(fastrand::Rng::with_seed(number("LODGE_FUZZ_SEED", 1)));
    let (least, began) = (Duration::from_secs(number("LODGE_FUZZ_SECONDS", 0)), Instant::now());
    let (mut count, mut stages) = (0_u64, [0_u64; 4]);
    while count < ROUNDS || began.elapsed() < least {
        let mut text = dice.one_of(texts).clone();
        dice.mutate(&mut text, &corpus);
        stages[run(&text)] += 1;
        count += 1;
    }
    eprintln!("{count} documents; refused, read, completed, judged good: {stages:?}");
    // What is completed is nearly always judged good: its stage is for what only the judge refuses.
    let reached = [stages[0], stages[1], stages[3]];
    assert!(reached.iter().all(|stage| *stage > 0), "the mutations reach every stage: {stages:?}");
}

/// Every part that may be there often, as often as it may be: a time that grows with the square would not end.
#[test]
fn large_documents_take_no_square_of_the_time() {
    let many = |element: &str, count: usize| element.repeat(count);
    let numbered = |make: &dyn Fn(usize) -> String, count: usize| (0..count).map(make).collect::<String>();
    let bodies = [
        ("foreign elements", many("<x/>", 60_000), String::new()),
        (
            "foreign attributes",
            format!("<x {}/>", numbered(&|at| format!("a{at}='1' "), 3000)),
            String::new(),
        ),
        ("comments", many("<!-- c -->", 60_000), String::new()),
        (
            "controllers",
            String::new(),
            numbered(&|at| format!("<controller type='scsi' index='{at}'/>"), 1024),
        ),
        (
            "disks",
            String::new(),
            numbered(
                &|at| {
                    format!(
                        "<disk type='file'><source file='/{at}'/><target dev='{}' bus='scsi'/></disk>",
                        name(at)
                    )
                },
                1024,
            ),
        ),
        (
            "channels",
            String::new(),
            many("<channel type='unix'><target type='virtio' name='c'/></channel>", 1024),
        ),
        ("inputs", String::new(), many("<input type='tablet' bus='usb'/>", 1024)),
        ("interfaces", String::new(), many("<interface type='user'/>", 1024)),
        (
            "hostdevs",
            String::new(),
            many(
                "<hostdev mode='subsystem' type='usb'><source><vendor id='1'/><product id='2'/></source></hostdev>",
                1024,
            ),
        ),
        (
            "modules",
            String::new(),
            many("<memory model='dimm'><target><size unit='MiB'>1</size></target></memory>", 1024),
        ),
        (
            "cells",
            format!(
                "<cpu><numa>{}</numa></cpu>",
                numbered(&|at| format!("<cell id='{at}' memory='1'/>"), 4096)
            ),
            String::new(),
        ),
        (
            "tuned processors",
            format!(
                "<cputune>{}</cputune>",
                numbered(&|at| format!("<vcpupin vcpu='{at}' cpuset='0'/>"), 4096)
            ),
            String::new(),
        ),
        (
            "processors",
            format!("<vcpus>{}</vcpus>", numbered(&|at| format!("<vcpu id='{at}' enabled='yes'/>"), 8192)),
            String::new(),
        ),
        ("faults", many("<vcpu>x</vcpu>", 20_000), String::new()),
    ];
    for (what, top, devices) in bodies {
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>1048576</memory>{top}<os><type machine='q35'>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        );
        let began = Instant::now();
        let stage = fuzz::domain(&text);
        assert!(began.elapsed() < PATIENCE, "{what}: {:?}", began.elapsed());
        eprintln!("{what}: {} bytes, stage {stage}, {:?}", text.len(), began.elapsed());
    }
}

/// A target's name, as a spreadsheet's columns are counted.
fn name(mut at: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + u8::try_from(at % 26).unwrap()));
        if at < 26 {
            break;
        }
        at = at / 26 - 1;
    }
    "sd".chars().chain(letters.into_iter().rev()).collect()
}

#[test]
fn what_is_complete_has_one_text() {
    // The corpus itself, whatever libvirt makes of it: stable from the first writing on.
    for text in texts() {
        let Ok(judged) = Domain::judge(&text, false, &Platform::default()) else { continue };
        let first = judged.to_xml(&WriteOptions::STORED);
        let read = Domain::parse(&first).unwrap_or_else(|faults| panic!("{faults}\n{first}"));
        assert_eq!(read.to_xml(&WriteOptions::STORED), first);
    }
}
