//! What the fuzzers call, with real images of which a few bytes are others: for a toolchain without a fuzzer.
//!
//! `LODGE_FUZZ_SECONDS` makes it longer (each target takes so long), `LODGE_FUZZ_SEED` other. The seed of a failure is
//! printed by the panic's own round.

use std::{
    fs,
    time::{Duration, Instant},
};

use lodge_storage::fuzz;

use crate::world::{World, can_run, qemu_img, run, text};

/// The same rounds from the same seed.
struct Dice(fastrand::Rng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    /// Changes a few places: a byte, a number of a header or table, a piece copied elsewhere, the end cut off.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.len() < 16 {
                return;
            }
            // Headers and tables are at the front; most lies go there.
            let front = if self.below(4) == 0 { bytes.len() } else { bytes.len().min(4096) };
            let at = self.below(front - 8);
            match self.below(6) {
                0 => bytes[at] = self.0.u8(..),
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at..at + 8].copy_from_slice(&(1_u64 << self.below(64)).to_be_bytes()),
                3 => bytes[at..at + 4].copy_from_slice(&(u32::MAX >> self.below(32)).to_be_bytes()),
                4 => {
                    let (from, length) = (self.below(bytes.len() - 8), self.below(64));
                    let end = (from + length).min(bytes.len()).min(from + bytes.len() - at);
                    bytes.copy_within(from..end, at);
                }
                _ => bytes.truncate(at.max(8)),
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn rounds(name: &str, corpus: &[Vec<u8>], target: fn(&[u8])) {
    let mut dice = Dice(fastrand::Rng::with_seed(number("LODGE_FUZZ_SEED", 1)));
    let (until, mut count) = (Instant::now() + Duration::from_secs(number("LODGE_FUZZ_SECONDS", 1)), 0_u64);
    for whole in corpus {
        target(whole);
    }
    while Instant::now() < until {
        let mut bytes = corpus[dice.below(corpus.len())].clone();
        dice.mutate(&mut bytes);
        target(&bytes);
        count += 1;
    }
    eprintln!("{name}: {count} images");
    assert!(count > 0);
}

#[tokio::test]
async fn images_with_a_few_other_bytes_are_read_or_refused() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let mut images = Vec::new();
    for (at, options) in [
        &["cluster_size=512"][..],
        &["cluster_size=4k,extended_l2=off"],
        &["compat=0.10"],
        &["compression_type=zstd"],
    ]
    .into_iter()
    .enumerate()
    {
        let path = world.pool(&format!("{at}.qcow2"));
        qemu_img(&[&["create", "-q", "-f", "qcow2", "-o"][..], options, &[text(&path), "256k"]].concat());
        run("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 20k", "-c", "write -z 64k 64k", text(&path)]);
        images.push(fs::read(&path).unwrap());
        let packed = world.pool(&format!("{at}c.qcow2"));
        qemu_img(
            &[&["convert", "-c", "-O", "qcow2", "-o"][..], options, &[text(&path), text(&packed)]].concat(),
        );
        images.push(fs::read(&packed).unwrap());
    }
    let mut descriptors = Vec::new();
    for kind in ["monolithicSparse", "twoGbMaxExtentFlat", "streamOptimized", "monolithicFlat"] {
        let path = world.pool(&format!("{kind}.vmdk"));
        let option = format!("subformat={kind}");
        qemu_img(&["create", "-q", "-f", "vmdk", "-o", &option, text(&path), "1M"]);
        let bytes = fs::read(&path).unwrap();
        descriptors.push(bytes[..bytes.len().min(4096)].to_vec());
    }
    rounds("headers", &images, fuzz::header);
    rounds("tables", &images, fuzz::tables);
    rounds("vmdk", &descriptors, fuzz::vmdk);
}
