//! What clients wait for, beside libvirtd: one Python program in both houses, one after the other, and the ratios.
//!
//! Prints and judges nothing: a busy machine makes any figure bad.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::house::{Builder, Side};

/// A figure of `bench.py`, what it is, whether more is better, and what is wanted of it.
const FIGURES: &[(&str, &str, Better, &str)] = &[
    ("calls 1", "empty calls per second, 1 connection", Better::More, "≥ 2×"),
    ("calls 16", "empty calls per second, 16 connections", Better::More, "≥ 3×"),
    ("define", "defines per second", Better::More, ""),
    ("xml", "XML dumps per second", Better::More, ""),
    ("list 1000", "listAllDomains of 1,000 (ms)", Better::Less, "≥ 1×"),
    ("list and state 500", "list of 500 with states (ms)", Better::Less, ""),
    ("virsh list 500", "virsh list --all of 500 (ms)", Better::Less, "≥ 2×"),
    ("virsh uri", "virsh uri: what virsh itself takes (ms)", Better::Less, ""),
    ("stats 500", "bulk statistics of 500 (ms)", Better::Less, "≥ 3×"),
    ("start", "start (ms)", Better::Less, ""),
    ("destroy", "destroy (ms)", Better::Less, ""),
    ("event", "event after QEMU said so (ms)", Better::Less, "≤ 2 ms"),
    ("upload", "virsh vol-upload of 512 MiB in memory (ms)", Better::Less, ""),
    ("download", "virsh vol-download of 512 MiB in memory (ms)", Better::Less, ""),
    ("cp", "cp of 512 MiB in memory (ms)", Better::Shown, ""),
    ("connections 1000 MB", "memory for 1,000 connections (MB)", Better::Less, "< 30 MB"),
    ("growth over calls KB", "memory grown over all calls (KB)", Better::Shown, "flat"),
    ("descriptors over calls", "descriptors left by all calls", Better::Shown, "0"),
    ("rss at first MB", "memory at rest (MB)", Better::Less, ""),
    ("rss MB", "memory with 1,000 guests, at the end (MB)", Better::Less, ""),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
    Shown,
}

/// Measures both sides, with so many calls for the long run, and prints the table.
pub fn run(builder: &Builder, calls: &str) -> Result<()> {
    let theirs = measure(builder, Side::Libvirtd, calls)?;
    let ours = measure(builder, Side::Lodge, calls)?;
    println!("{:42} {:>12} {:>12} {:>9}  wanted", "", "lodge", "libvirtd", "ratio");
    for (name, what, better, wanted) in FIGURES {
        let (Some(ours), Some(theirs)) = (ours.get(*name), theirs.get(*name)) else {
            println!("{what:42} was not measured on both sides");
            continue;
        };
        let ratio = match better {
            Better::More => format!("{:.2}×", ours / theirs),
            Better::Less => format!("{:.2}×", theirs / ours),
            Better::Shown => String::new(),
        };
        println!("{what:42} {ours:>12.2} {theirs:>12.2} {ratio:>9}  {wanted}");
    }
    Ok(())
}

fn measure(builder: &Builder, side: Side, calls: &str) -> Result<HashMap<String, f64>> {
    let program = ["/usr/bin/python3", "bench.py", calls].map(str::to_owned);
    let text = builder.output(side, &program)?;
    text.lines()
        .map(|line| {
            let (name, number) = line.split_once('\t').with_context(|| format!("no figure: {line}"))?;
            Ok((name.to_owned(), number.parse()?))
        })
        .collect()
}
