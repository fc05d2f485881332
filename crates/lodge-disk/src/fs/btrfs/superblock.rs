//! The superblock, 64 KiB into the device. Its copies further on are not looked at, as a kernel does not either.

use lodge_model::{Bytes, guest_disk::Content};

use crate::{
    blocks::Blocks,
    fs::{FsError, piece::Piece},
};

use super::sums::Sum;

/// What is needed to find the trees.
#[derive(Debug)]
pub(super) struct Superblock {
    piece: Piece,
    pub(super) content: Content,
    pub(super) sum: Sum,
    pub(super) sector_bytes: u32,
    pub(super) node_bytes: usize,
    /// This device's number.
    pub(super) device: u64,
    pub(super) root: (u64, u8),
    pub(super) chunk_root: (u64, u8),
    pub(super) has_log: bool,
    /// The chunks that hold the chunk tree: keys and items.
    pub(super) system_chunks: Piece,
}

const AT: u64 = 64 << 10;
const BYTES: usize = 4096;
const SYSTEM_CHUNKS_MOST: usize = 2048;
/// Features that change where things lie or what they mean.
const UNREADABLE: [(u64, &str); 4] = [
    (1 << 7, "RAID5 and RAID6"),
    (1 << 12, "zones"),
    (1 << 13, "the second version of the extent tree"),
    (1 << 14, "a RAID stripe tree"),
];
/// All others that are known, and that change nothing for a reader.
const READABLE: u64 = 0x1_0fff & !(1 << 7);

pub(super) fn read(blocks: &dyn Blocks) -> Result<Superblock, FsError> {
    let piece = Piece::read(blocks, "btrfs superblock", AT, BYTES)?;
    if piece.slice(64, 8)? != b"_BHRfS_M" {
        return Err(piece.damaged(64, "no such magic number"));
    }
    let features = piece.le64(188)?;
    if let Some((_, name)) = UNREADABLE.iter().find(|(bit, _)| features & bit != 0) {
        return Err(FsError::Unsupported(format!("a btrfs with {name}")));
    }
    if features & !READABLE != 0 {
        let unknown = features & !READABLE;
        return Err(FsError::Unsupported(format!("btrfs features {unknown:#x} that are not known here")));
    }
    let devices = piece.le64(136)?;
    if devices != 1 {
        return Err(FsError::Unsupported(format!("a btrfs over {devices} devices")));
    }
    let (sector_bytes, node_bytes) = (piece.le32(144)?, piece.le32(148)?);
    if !sector_bytes.is_power_of_two() || !(512..=65536).contains(&sector_bytes) {
        return Err(piece.damaged(144, "no such size of sectors"));
    }
    if !node_bytes.is_power_of_two() || !(4096..=65536).contains(&node_bytes) {
        return Err(piece.damaged(148, "no such size of nodes"));
    }
    let system_bytes = usize::try_from(piece.le32(160)?).unwrap_or(usize::MAX);
    if system_bytes > SYSTEM_CHUNKS_MOST {
        return Err(piece.damaged(160, "more system chunks than there is room for"));
    }
    Ok(Superblock {
        content: Content {
            kind: "btrfs".to_owned(),
            uuid: Some(piece.uuid(32)?),
            label: piece.label(299, 256)?,
            group: None,
            used: Some(Bytes(piece.le64(120)?)),
        },
        sum: Sum::new(piece.le16(196)?)?,
        sector_bytes,
        node_bytes: node_bytes as usize,
        device: piece.le64(201)?,
        root: (piece.le64(80)?, piece.byte(198)?),
        chunk_root: (piece.le64(88)?, piece.byte(199)?),
        has_log: piece.le64(96)? != 0,
        system_chunks: piece.part("btrfs system chunks", 811, system_bytes)?,
        piece,
    })
}

impl Superblock {
    pub(super) fn check_sum(&self) -> Result<(), FsError> {
        self.sum.check(&self.piece)
    }
}
