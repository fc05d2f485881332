//! Where symbolic links point: in the inode, or in blocks of their own, which version 5 heads.

use crate::fs::{
    FsError,
    piece::{self, Piece},
};

use super::{
    extents,
    inode::{Fork, Inode},
    superblock::Volume,
};

/// XFS makes none that is longer.
const LONGEST: u64 = 1024;
const HEADER: usize = 56;

pub(super) fn read(volume: &Volume, inode: &Inode) -> Result<Vec<u8>, FsError> {
    let length = usize::try_from(inode.node.size.min(LONGEST + 1)).unwrap_or(usize::MAX);
    if let Fork::Local(data) = &inode.fork {
        return Ok(data.slice(0, length)?.to_vec());
    }
    if inode.node.size > LONGEST {
        return Err(FsError::Damaged {
            what: format!("XFS link, inode {}: it is {} bytes long", inode.number, inode.node.size),
            at: volume.inode_place(inode.number).unwrap_or_default(),
        });
    }
    if !volume.is_v5 {
        let mut target = piece::zeros(length)?;
        extents::read(volume, inode, 0, &mut target)?;
        return Ok(target);
    }
    // Each run of blocks has a header and one checksum over all of it.
    let blocks = length.div_ceil(volume.block_bytes - HEADER) as u64;
    let mut target = Vec::new();
    for extent in extents::overlapping(volume, inode, 0..blocks)? {
        let count = usize::try_from(extent.end().min(blocks) - extent.first).unwrap_or_default();
        let at = extent.place(volume, 0);
        let run = Piece::read(&*volume.blocks, "XFS link", at, count * volume.block_bytes)?;
        if run.slice(0, 4)? != b"XSLM" {
            return Err(run.damaged(0, "no such magic number"));
        }
        volume.check_sum(&run, 12)?;
        let bytes = usize::try_from(run.be32(8)?).unwrap_or(usize::MAX).min(length - target.len());
        target.extend_from_slice(run.slice(HEADER, bytes)?);
    }
    if target.len() < length {
        return Err(FsError::Damaged {
            what: format!("XFS link, inode {}: it is shorter than it says", inode.number),
            at: volume.inode_place(inode.number).unwrap_or_default(),
        });
    }
    Ok(target)
}
