//! The signature of a disk with a DOS partition table: four bytes of its first sector.

use super::Fault;
use crate::blocks::Blocks;

const PLACE: usize = 440;

/// Sets it; says whether it was otherwise.
pub(crate) fn set_signature(disk: &dyn Blocks, signature: u32) -> Result<bool, Fault> {
    let mut sector = [0; 512];
    disk.read_at(0, &mut sector)?;
    if sector[510..] != [0x55, 0xaa] {
        return Err(Fault::Damaged("its first sector is no DOS partition table".to_owned()));
    }
    let new = signature.to_le_bytes();
    if sector[PLACE..PLACE + 4] == new {
        return Ok(false);
    }
    disk.write_at(PLACE as u64, &new)?;
    Ok(true)
}
