//! An oracle of its own: reads what a guest sees of a chain, or of a snapshot inside a file, straight from the bytes.
//!
//! Knows only what the test's images have: qcow2 version 3 with whole clusters, uncompressed; raw. Layout: QEMU's
//! docs/interop/qcow2.txt.

use std::path::{Path, PathBuf};

fn be32(bytes: &[u8], at: usize) -> u64 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Where a cluster's content is.
enum Cluster {
    At(u64),
    Zero,
    Below,
}

struct Image {
    bytes: Vec<u8>,
    cluster: u64,
    size: u64,
    backing: Option<PathBuf>,
}

impl Image {
    fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if !bytes.starts_with(b"QFI\xfb") {
            let size = bytes.len() as u64;
            return Self { bytes, cluster: 0, size, backing: None };
        }
        let (name_at, name_bytes) = (be64(&bytes, 8) as usize, be32(&bytes, 16) as usize);
        let name = std::str::from_utf8(&bytes[name_at..name_at + name_bytes]).unwrap();
        let backing = (name_at > 0).then(|| path.parent().unwrap().join(name));
        let (cluster, size) = (1 << be32(&bytes, 20), be64(&bytes, 24));
        Self { bytes, cluster, size, backing }
    }

    /// The first-level table of the disk, or of a snapshot.
    fn table(&self, snapshot: Option<&str>) -> usize {
        let Some(wanted) = snapshot else { return be64(&self.bytes, 40) as usize };
        let (count, mut at) = (be32(&self.bytes, 60), be64(&self.bytes, 64) as usize);
        for _ in 0..count {
            let short =
                |at: usize| usize::from(u16::from_be_bytes(self.bytes[at..at + 2].try_into().unwrap()));
            let (id_bytes, name_bytes, extra) =
                (short(at + 12), short(at + 14), be32(&self.bytes, at + 36) as usize);
            let name_at = at + 40 + extra + id_bytes;
            if &self.bytes[name_at..name_at + name_bytes] == wanted.as_bytes() {
                return be64(&self.bytes, at) as usize;
            }
            at = (name_at + name_bytes).next_multiple_of(8);
        }
        panic!("there is no snapshot {wanted}");
    }

    fn cluster(&self, table: usize, number: u64) -> Cluster {
        const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
        let entries = self.cluster / 8;
        let second = be64(&self.bytes, table + (number / entries * 8) as usize) & OFFSET;
        if second == 0 {
            return Cluster::Below;
        }
        let entry = be64(&self.bytes, (second + number % entries * 8) as usize);
        assert_eq!(entry >> 62 & 1, 0, "a compressed cluster");
        match (entry & 1, entry & OFFSET) {
            (1, _) => Cluster::Zero,
            (_, 0) => Cluster::Below,
            (_, offset) => Cluster::At(offset),
        }
    }
}

/// All bytes of a disk, or of a snapshot inside its file.
pub fn content(path: &Path, snapshot: Option<&str>) -> Vec<u8> {
    let image = Image::open(path);
    if image.cluster == 0 {
        return image.bytes;
    }
    let mut seen = image.backing.as_ref().map(|backing| content(backing, None)).unwrap_or_default();
    seen.resize(image.size as usize, 0);
    let table = image.table(snapshot);
    for number in 0..image.size.div_ceil(image.cluster) {
        let at = (number * image.cluster) as usize;
        let end = (at + image.cluster as usize).min(seen.len());
        match image.cluster(table, number) {
            Cluster::Below => {}
            Cluster::Zero => seen[at..end].fill(0),
            Cluster::At(offset) => {
                let from = &image.bytes[(offset as usize).min(image.bytes.len())..];
                let there = from.len().min(end - at);
                seen[at..at + there].copy_from_slice(&from[..there]);
                seen[at + there..end].fill(0);
            }
        }
    }
    seen
}
