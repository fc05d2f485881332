//! Real file systems of which a few bytes are others: read or refused, never a panic, never without end.
//!
//! Only bytes that a reader of the whole one looks at are changed, and checksums are not looked at, so most changes
//! are met. `LODGE_FUZZ_ROUNDS` makes it longer, `LODGE_FUZZ_SEED` other; a panic's round is printed.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use lodge_disk::{blocks::Blocks, fuzz};
use tempfile::TempDir;

use super::{btrfs, image::empty, tree, xfs};

const SECTOR: usize = 512;
type Sectors = HashMap<u64, [u8; SECTOR]>;

/// A device of which only the sectors are kept that are not zeros, and over them a few others.
#[derive(Debug, Default)]
struct Device {
    bytes: u64,
    base: Arc<Sectors>,
    over: Sectors,
    seen: Option<Mutex<BTreeSet<u64>>>,
}

impl Device {
    fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let sectors = bytes.as_chunks::<SECTOR>().0;
        let base = (0..).zip(sectors).filter(|(_, sector)| sector.iter().any(|byte| *byte != 0));
        let base = Arc::new(base.map(|(number, sector)| (number, *sector)).collect());
        Self { bytes: bytes.len() as u64, base, over: HashMap::new(), seen: Some(Mutex::default()) }
    }
}

impl Blocks for Device {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let (mut at, mut rest) = (offset, into);
        while !rest.is_empty() {
            let sector = SECTOR as u64;
            let (number, within) = (at / sector, usize::try_from(at % sector).unwrap());
            let length = rest.len().min(SECTOR - within);
            let (part, after) = rest.split_at_mut(length);
            match self.over.get(&number).or_else(|| self.base.get(&number)) {
                Some(sector) => part.copy_from_slice(&sector[within..within + length]),
                None => part.fill(0),
            }
            if let Some(seen) = &self.seen {
                seen.lock().unwrap().insert(number);
            }
            (at, rest) = (at + length as u64, after);
        }
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The same rounds from the same seed.
pub struct Dice(fastrand::Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    /// Changes a byte, a number of either order, or copies a piece of the sector over another.
    pub fn change(&mut self, sector: &mut [u8]) {
        if sector.len() < 72 {
            let at = self.below(sector.len());
            if let Some(byte) = sector.get_mut(at) {
                *byte = self.0.u8(..);
            }
            return;
        }
        let at = self.below(sector.len() - 8);
        match self.below(7) {
            0 => sector[at] = self.0.u8(..),
            1 => sector[at] ^= 1 << self.below(8),
            2 => sector[at..at + 8].copy_from_slice(&(1_u64 << self.below(64)).to_be_bytes()),
            3 => sector[at..at + 8].copy_from_slice(&(1_u64 << self.below(64)).to_le_bytes()),
            4 => sector[at..at + 4].copy_from_slice(&(u32::MAX >> self.below(32)).to_be_bytes()),
            5 => sector[at..at + 4].copy_from_slice(&(u32::MAX >> self.below(32)).to_le_bytes()),
            _ => {
                let from = self.below(sector.len() - 64);
                sector.copy_within(from..from + self.below(64).min(sector.len() - at), at);
            }
        }
    }
}

pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Prints which round it was, should it panic.
pub struct Round(pub u64);

impl Drop for Round {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("LODGE_FUZZ_SEED={}", self.0);
        }
    }
}

fn rounds(image: &Path, rounds: u64, target: fn(Arc<dyn Blocks>) -> usize) {
    let whole = Arc::new(Device::open(image));
    let looks = target(whole.clone());
    assert!(looks > 10, "the whole one is read");
    let seen: Vec<u64> = whole.seen.as_ref().unwrap().lock().unwrap().iter().copied().collect();
    let (count, first) = (number("LODGE_FUZZ_ROUNDS", rounds), number("LODGE_FUZZ_SEED", 1));
    for seed in first..first + count {
        let round = Round(seed);
        let mut dice = Dice::new(seed);
        let mut over = HashMap::new();
        for _ in 0..=dice.below(3) {
            let number = seen[dice.below(seen.len())];
            let sector =
                over.entry(number).or_insert_with(|| whole.base.get(&number).copied().unwrap_or([0; SECTOR]));
            dice.change(sector);
        }
        let device = Device { bytes: whole.bytes, base: whole.base.clone(), over, seen: None };
        target(Arc::new(device));
        drop(round);
    }
}

#[test]
fn an_xfs_with_a_few_other_bytes_is_read_or_refused() {
    thread::scope(|scope| {
        for options in
            [&["-b", "size=1024"][..], &["-n", "size=8192"], &["-m", "crc=0"], &["-i", "size=2048"]]
        {
            scope.spawn(move || {
                let folder = TempDir::new().unwrap();
                let image = empty(&folder, "xfs", 300);
                // Few kernels mount version 4 today.
                let made = if options.contains(&"crc=0") {
                    xfs::make_old(&folder, &image, options);
                    true
                } else {
                    xfs::make(&image, options, tree::tiny)
                };
                if made {
                    rounds(&image, 6000, fuzz::xfs_on);
                }
            });
        }
    });
}

#[test]
fn a_btrfs_with_a_few_other_bytes_is_read_or_refused() {
    thread::scope(|scope| {
        // Unpacking takes most of the time.
        for (packing, count) in [("no", 6000), ("zlib", 1000), ("lzo", 1000), ("zstd", 1000)] {
            scope.spawn(move || {
                let folder = TempDir::new().unwrap();
                let image = empty(&folder, "btrfs", 200);
                let options = format!("rw,compress-force={packing}");
                if btrfs::make(&image, &["-n", "4096", "-M"], &options, |at| {
                    tree::tiny(at);
                    btrfs::few_subvolumes(at);
                }) {
                    rounds(&image, count, fuzz::btrfs_on);
                }
            });
        }
    });
}
