//! How long reading, completing and writing a document takes, and what a read one weighs.
//!
//! `cargo run --release -p lodge-model --example speed [FILE]`

use lodge_model::domain::{Domain, Platform};
use lodge_model::xml::WriteOptions;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 2000;

fn main() {
    let file = std::env::args().nth(1);
    let text = file.map_or_else(
        || include_str!("../tests/corpus/rhel8.0.in.xml").to_owned(),
        |file| std::fs::read_to_string(file).expect("the file can be read"),
    );
    let platform = Platform::default();
    let parsed = Domain::parse(&text).expect("the document is valid");
    let mut whole = parsed.clone();
    whole.complete(&platform).expect("there is room for its devices");

    per_round("parse", || drop(black_box(Domain::parse(black_box(&text)))));
    per_round("complete (and clone)", || drop(black_box(parsed.clone().complete(&platform))));
    per_round("check", || drop(black_box(whole.check())));
    per_round("write", || drop(black_box(whole.to_xml(&WriteOptions::STORED))));

    let before = resident_kib();
    let many: Vec<_> = (0..ROUNDS).map(|_| Domain::parse(&text)).collect();
    println!("{:22} {:6.1} KiB", "memory of one", f64::from(resident_kib() - before) / f64::from(ROUNDS));
    drop(many);
}

fn per_round(what: &str, mut act: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        act();
    }
    println!("{what:22} {:6.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

/// Resident memory of this process (proc(5), statm; pages of 4 KiB).
fn resident_kib() -> u32 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u32>().ok()).unwrap_or_default() * 4
}
