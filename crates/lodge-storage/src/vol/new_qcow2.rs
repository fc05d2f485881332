//! The bytes of an empty qcow2, laid out as qemu-img lays it out. Pure.
//!
//! ```text
//!  header, extensions, backing name │ refcount table │ refcount blocks │ L1 table
//! ```
//!
//! Layout: QEMU's docs/interop/qcow2.txt. Deliberately absent: tables for preallocated data (qemu-img's).

use super::facts::Features;

/// What an empty image is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blank {
    pub virtual_bytes: u64,
    pub cluster_bytes: u64,
    /// 2 (`compat` 0.10) or 3 (1.1).
    pub version: u32,
    pub features: Features,
    /// The backing file's name and format.
    pub backing: Option<(String, &'static str)>,
}

/// Where bytes go, and how long the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub parts: Vec<(u64, Vec<u8>)>,
    pub length: u64,
}

/// Why there is no such image, in qemu-img's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlankFault {
    #[error("Cluster size must be a power of two between 512 and 2048k")]
    ClusterSize,
    #[error("Extended L2 entries are only supported with cluster size of at least 16384 bytes")]
    ExtendedL2,
    #[error("The image size is too large for file format 'qcow2' (try using a larger cluster size)")]
    TooLarge,
    #[error("Backing file name too long")]
    BackingName,
}

/// The size of clusters where nothing else is said: qemu-img's.
pub(crate) const CLUSTER_BYTES: u64 = 64 << 10;
const MAGIC: &[u8] = b"QFI\xfb";
const HEADER_BYTES_V2: usize = 72;
/// With the compression type and its padding.
const HEADER_BYTES_V3: u32 = 112;
const REFCOUNT_ORDER: u32 = 4;
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// QEMU's limit of the L1 table.
const L1_BYTES_MAX: u64 = 32 << 20;
/// QEMU's limit of a backing file's name.
const NAME_BYTES_MAX: usize = 1023;

impl Blank {
    /// Lays the image out.
    pub fn layout(&self) -> Result<Layout, BlankFault> {
        let cluster = self.cluster_bytes;
        if !cluster.is_power_of_two() || !(512..=2 << 20).contains(&cluster) {
            return Err(BlankFault::ClusterSize);
        }
        if self.features.extended_l2 && cluster < 16 << 10 {
            return Err(BlankFault::ExtendedL2);
        }
        let l2_entry_bytes = if self.features.extended_l2 { 16 } else { 8 };
        let l1_entries = self.virtual_bytes.div_ceil(cluster * (cluster / l2_entry_bytes));
        let l1_bytes = l1_entries * 8;
        if l1_bytes > L1_BYTES_MAX || self.virtual_bytes > i64::MAX.cast_unsigned() {
            return Err(BlankFault::TooLarge);
        }
        let (table_clusters, blocks) = refcounts(cluster, l1_bytes.div_ceil(cluster));
        let blocks_at = cluster * (1 + table_clusters);
        let l1_at = blocks_at + cluster * blocks;
        let clusters = 1 + table_clusters + blocks + l1_bytes.div_ceil(cluster);
        let header = self.header(l1_entries, l1_at, table_clusters)?;
        let table: Vec<u8> =
            (0..blocks).flat_map(|block| (blocks_at + block * cluster).to_be_bytes()).collect();
        let counts = 1_u16.to_be_bytes().repeat(usize::try_from(clusters).map_err(|_| BlankFault::TooLarge)?);
        let parts = vec![(0, header), (cluster, table), (blocks_at, counts)];
        Ok(Layout { parts, length: l1_at + l1_bytes })
    }

    pub fn header(&self, l1_entries: u64, l1_at: u64, table_clusters: u64) -> Result<Vec<u8>, BlankFault> {
        let mut bytes = MAGIC.to_vec();
        let u32s = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
        bytes.extend(self.version.to_be_bytes());
        bytes.extend([0; 12]); // the backing name, below
        bytes.extend(self.cluster_bytes.trailing_zeros().to_be_bytes());
        bytes.extend(self.virtual_bytes.to_be_bytes());
        bytes.extend([0; 4]); // no encryption
        bytes.extend(u32s(l1_entries));
        bytes.extend(l1_at.to_be_bytes());
        bytes.extend(self.cluster_bytes.to_be_bytes());
        bytes.extend(u32s(table_clusters));
        bytes.extend([0; 12]); // no snapshots
        debug_assert_eq!(bytes.len(), HEADER_BYTES_V2);
        if self.version >= 3 {
            let incompatible = u64::from(self.features.extended_l2) << 4;
            bytes.extend(incompatible.to_be_bytes());
            bytes.extend(u64::from(self.features.lazy_refcounts).to_be_bytes());
            bytes.extend([0; 8]);
            bytes.extend(REFCOUNT_ORDER.to_be_bytes());
            bytes.extend(HEADER_BYTES_V3.to_be_bytes());
            bytes.extend([0; 8]); // zlib
        }
        let Some((name, format)) = &self.backing else {
            bytes.extend([0; 8]);
            return Ok(bytes);
        };
        bytes.extend(BACKING_FORMAT.to_be_bytes());
        bytes.extend(u32s(format.len() as u64));
        bytes.extend(format.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend([0; 8]);
        if name.len() > NAME_BYTES_MAX || (bytes.len() + name.len()) as u64 > self.cluster_bytes {
            return Err(BlankFault::BackingName);
        }
        let at = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&at.to_be_bytes());
        bytes[16..20].copy_from_slice(&u32s(name.len() as u64));
        bytes.extend(name.as_bytes());
        Ok(bytes)
    }
}

/// Clusters of the refcount table and number of refcount blocks that count `l1` clusters of L1, the header and
/// themselves.
fn refcounts(cluster: u64, l1: u64) -> (u64, u64) {
    let counted_by_block = cluster / 2;
    let (mut table, mut blocks) = (1, 1);
    // Each round needs at least as much as the one before; what it counts grows a hundredfold faster.
    loop {
        let needed_blocks = (1 + table + blocks + l1).div_ceil(counted_by_block);
        let needed_table = (needed_blocks * 8).div_ceil(cluster);
        if (needed_table, needed_blocks) == (table, blocks) {
            return (table, blocks);
        }
        (table, blocks) = (needed_table.max(table), needed_blocks.max(blocks));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::qcow2;

    fn blank(virtual_bytes: u64) -> Blank {
        Blank {
            virtual_bytes,
            cluster_bytes: 65536,
            version: 3,
            features: Features::default(),
            backing: None,
        }
    }

    #[test]
    fn an_image_is_as_long_as_qemu_imgs() {
        assert_eq!(blank(16 << 20).layout().unwrap().length, 196_616);
        assert_eq!(Blank { cluster_bytes: 128 << 10, ..blank(1 << 20) }.layout().unwrap().length, 393_224);
    }

    #[test]
    fn what_cannot_be_is_refused_in_qemu_imgs_words() {
        let fault = |blank: Blank| blank.layout().unwrap_err().to_string();
        assert!(fault(Blank { cluster_bytes: 102_400, ..blank(1) }).starts_with("Cluster size must be"));
        assert!(fault(blank(10 << 50)).starts_with("The image size is too large"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            virtual_bytes in 0_u64..1 << 44,
            cluster_bits in 9_u32..=21,
            is_new in any::<bool>(),
            lazy_refcounts in any::<bool>(),
            name in proptest::option::of("[a-z/]{1,300}"),
        ) {
            let wanted = Blank {
                virtual_bytes,
                cluster_bytes: 1 << cluster_bits,
                version: if is_new { 3 } else { 2 },
                features: Features { lazy_refcounts: is_new && lazy_refcounts, extended_l2: false },
                backing: name.map(|name| (name, "raw")),
            };
            let Ok(layout) = wanted.layout() else { return Ok(()) };
            let (at, header) = &layout.parts[0];
            prop_assert_eq!(*at, 0);
            let read = qcow2::parse(header).unwrap();
            prop_assert_eq!(read.virtual_bytes, virtual_bytes);
            prop_assert_eq!((read.cluster_bytes, read.version), (wanted.cluster_bytes, wanted.version));
            prop_assert_eq!(read.has_lazy_refcounts, wanted.features.lazy_refcounts);
            let backing = read.backing.map(|backing| (backing.name, backing.format.unwrap()));
            let wanted_backing = wanted.backing.map(|(name, format)| (name, format.to_owned()));
            prop_assert_eq!(backing, wanted_backing);
            // No part reaches into the next, and each cluster up to the end is counted.
            for pair in layout.parts.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1.len() as u64 <= pair[1].0);
            }
            let counted = layout.parts[2].1.len() as u64 / 2;
            prop_assert_eq!(counted, layout.length.div_ceil(wanted.cluster_bytes));
        }
    }
}
