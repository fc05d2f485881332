//! The UUID of a btrfs: a new one in the superblocks, while its blocks keep the old, as `btrfstune -M` does it.
//!
//! Rewriting all blocks (`-U`) would take as long as the file system is large. Kernels know the short way since 5.0. It is
//! done here and not by btrfstune, which wants to see the host's mounts before it touches anything. Layout: the kernel's
//! include/uapi/linux/btrfs_tree.h, `btrfs_super_block`.

use sha2::{Digest as _, Sha256};
use twox_hash::XxHash64;
use uuid::Uuid;

use super::Fault;
use crate::blocks::Blocks;

const FIRST: u64 = 64 << 10;
/// The superblock and its copies, as far as the device has room for them.
const PLACES: [u64; 3] = [FIRST, 64 << 20, 256 << 30];
const BYTES: usize = 4096;
const SUM_BYTES: usize = 32;
const UUID: usize = 0x20;
const PLACE: usize = 0x30;
const MAGIC: usize = 0x40;
const GENERATION: usize = 0x48;
const DEVICES: usize = 0x88;
const INCOMPATIBLE: usize = 0xbc;
const SUM_KIND: usize = 0xc4;
/// Where the UUID of the blocks is kept once it is another.
const BLOCKS_UUID: usize = 0x23b;
const INCOMPATIBLE_BLOCKS_UUID: u64 = 1 << 10;

/// Sets it; says whether it was otherwise.
pub(crate) fn set_uuid(device: &dyn Blocks, uuid: Uuid) -> Result<bool, Fault> {
    let mut copies = Vec::new();
    for place in PLACES.into_iter().filter(|place| place + BYTES as u64 <= device.bytes()) {
        let mut bytes = vec![0; BYTES];
        device.read_at(place, &mut bytes)?;
        if bytes[MAGIC..MAGIC + 8] == *b"_BHRfS_M"
            && u64_at(&bytes, PLACE) == place
            && sum(&bytes)? == bytes[..SUM_BYTES]
        {
            copies.push((place, bytes));
        }
    }
    let Some((FIRST, first)) = copies.first() else {
        return Err(Fault::Damaged("its btrfs superblock is none, or its sum is wrong".to_owned()));
    };
    let devices = u64_at(first, DEVICES);
    if devices != 1 {
        let why = format!(
            "it is a btrfs of {devices} devices, whose UUID is not changed (use btrfstune in the guest)"
        );
        return Err(Fault::Unsupported(why));
    }
    if first[UUID..UUID + 16] == *uuid.as_bytes() {
        return Ok(false);
    }
    let generation = u64_at(first, GENERATION);
    // The first one counts, so it comes last.
    for (place, mut bytes) in copies.into_iter().rev() {
        if u64_at(&bytes, GENERATION) == generation {
            rename(&mut bytes, uuid);
            let sum = sum(&bytes)?;
            bytes[..SUM_BYTES].copy_from_slice(&sum);
            device.write_at(place, &bytes)?;
        }
    }
    Ok(true)
}

fn rename(bytes: &mut [u8], uuid: Uuid) {
    let incompatible = u64_at(bytes, INCOMPATIBLE);
    if incompatible & INCOMPATIBLE_BLOCKS_UUID == 0 {
        bytes.copy_within(UUID..UUID + 16, BLOCKS_UUID);
    }
    bytes[UUID..UUID + 16].copy_from_slice(uuid.as_bytes());
    let is_of_blocks = bytes[BLOCKS_UUID..BLOCKS_UUID + 16] == *uuid.as_bytes();
    let incompatible = if is_of_blocks {
        bytes[BLOCKS_UUID..BLOCKS_UUID + 16].fill(0);
        incompatible & !INCOMPATIBLE_BLOCKS_UUID
    } else {
        incompatible | INCOMPATIBLE_BLOCKS_UUID
    };
    bytes[INCOMPATIBLE..INCOMPATIBLE + 8].copy_from_slice(&incompatible.to_le_bytes());
}

/// Over all that follows the sum's own place.
fn sum(bytes: &[u8]) -> Result<[u8; SUM_BYTES], Fault> {
    let mut sum = [0; SUM_BYTES];
    match u16::from_le_bytes([bytes[SUM_KIND], bytes[SUM_KIND + 1]]) {
        0 => sum[..4].copy_from_slice(&crc32c::crc32c(&bytes[SUM_BYTES..]).to_le_bytes()),
        1 => sum[..8].copy_from_slice(&XxHash64::oneshot(0, &bytes[SUM_BYTES..]).to_le_bytes()),
        2 => sum.copy_from_slice(&Sha256::digest(&bytes[SUM_BYTES..])),
        _ => {
            let why = "its btrfs has sums that are not known here (BLAKE2b): use btrfstune in the guest";
            return Err(Fault::Unsupported(why.to_owned()));
        }
    }
    Ok(sum)
}

/// Of a superblock, which is whole.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}
