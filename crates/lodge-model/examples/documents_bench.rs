//! Documents per second in one process: read, checked, completed and written, as a definition does it.
//!
//! `cargo xtask bench documents`; with `--peers` it sets libvirtd's define and dumpxml of the same documents beside it.

use lodge_model::domain::{Domain, Platform};
use lodge_model::xml::WriteOptions;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const LONG_ENOUGH: Duration = Duration::from_secs(3);

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(dir).expect("the corpus is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(".in.xml")));
    let texts: Vec<_> =
        paths.iter().map(|path| std::fs::read_to_string(path).expect("it can be read")).collect();
    let platform = Platform::default();
    // Those that need firmware which no platform is told of here are left out.
    let define = |text: &str| {
        Domain::judge(text, false, &platform).ok().map(|domain| domain.to_xml(&WriteOptions::STORED))
    };
    let texts: Vec<_> = texts.into_iter().filter(|text| define(text).is_some()).collect();
    let (began, mut rounds) = (Instant::now(), 0_usize);
    while began.elapsed() < LONG_ENOUGH {
        for text in &texts {
            drop(black_box(define(black_box(text))));
        }
        rounds += 1;
    }
    let documents = u32::try_from(rounds * texts.len()).unwrap_or(u32::MAX);
    let each = began.elapsed().as_secs_f64() / f64::from(documents);
    println!(
        "lodge     {:8.0} documents per second ({} documents, {:.0} µs each)",
        1.0 / each,
        texts.len(),
        each * 1e6
    );
}
