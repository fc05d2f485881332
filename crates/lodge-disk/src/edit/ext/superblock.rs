//! The few fields of an ext superblock that decide whether it may be edited. Layout: the kernel's
//! Documentation/filesystems/ext4/super.rst.

use std::io;

use uuid::Uuid;

use crate::blocks::Blocks;

const PLACE: u64 = 1024;
const MAGIC: u16 = 0xEF53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
const INCOMPAT_RECOVER: u32 = 4;
const INCOMPAT_JOURNAL_DEVICE: u32 = 8;
const INCOMPAT_SUM_SEED: u32 = 0x2000;
const RO_COMPAT_SUMS: u32 = 0x400;

/// What it says of itself.
#[derive(Debug)]
pub(super) struct Superblock {
    pub uuid: Uuid,
    /// The journal has something that is not where it belongs yet.
    pub needs_recovery: bool,
    /// Sums all over it begin with the UUID.
    pub has_sums_of_uuid: bool,
    state: u16,
    is_journal: bool,
}

impl Superblock {
    pub fn read(blocks: &dyn Blocks) -> io::Result<Self> {
        let mut bytes = [0; 0x78];
        blocks.read_at(PLACE, &mut bytes)?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let incompatible = u32_at(0x60);
        if u16_at(0x38) != MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no superblock of an ext file system at byte 1024",
            ));
        }
        let uuid = bytes[0x68..].first_chunk().copied().unwrap_or_default();
        Ok(Self {
            uuid: Uuid::from_bytes(uuid),
            needs_recovery: incompatible & INCOMPAT_RECOVER != 0,
            has_sums_of_uuid: u32_at(0x64) & RO_COMPAT_SUMS != 0 && incompatible & INCOMPAT_SUM_SEED == 0,
            state: u16_at(0x3A),
            is_journal: incompatible & INCOMPAT_JOURNAL_DEVICE != 0,
        })
    }

    /// Why it must not be edited.
    pub fn fault(&self) -> Option<&'static str> {
        if self.is_journal {
            Some("it is another file system's journal")
        } else if self.state & STATE_ERRORS != 0 {
            Some("the guest's kernel found errors in it (start the guest and let e2fsck put it in order)")
        } else if self.state & STATE_CLEAN == 0 {
            Some("it was not unmounted and has no journal (start the guest, and shut it down)")
        } else {
            None
        }
    }
}
