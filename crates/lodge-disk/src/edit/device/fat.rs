//! The serial number of a FAT file system, in the boot sector and in FAT32's copy of it.

use super::Fault;
use crate::blocks::Blocks;

/// Sets it; says whether it was otherwise.
pub(crate) fn set_serial(device: &dyn Blocks, serial: u32) -> Result<bool, Fault> {
    let mut boot = [0; 512];
    device.read_at(0, &mut boot)?;
    let u16_at = |at: usize| u16::from_le_bytes([boot[at], boot[at + 1]]);
    let sector = u64::from(u16_at(11));
    if boot[510..] != [0x55, 0xaa] || !matches!(sector, 512 | 1024 | 2048 | 4096) {
        return Err(Fault::Damaged("its first sector is no FAT boot sector".to_owned()));
    }
    // Only FAT32 has no count of sectors in the old place.
    let is_32 = u16_at(22) == 0;
    let place = if is_32 { 67 } else { 39 };
    if !matches!(boot[place - 1], 0x28 | 0x29) {
        return Err(Fault::Unsupported("its FAT is of a kind that has no serial number".to_owned()));
    }
    let (old, new) = ([boot[place], boot[place + 1], boot[place + 2], boot[place + 3]], serial.to_le_bytes());
    if old == new {
        return Ok(false);
    }
    let copy = u64::from(u16_at(50)) * sector;
    if is_32 && copy != 0 && copy + 512 <= device.bytes() {
        let mut second = [0; 512];
        device.read_at(copy, &mut second)?;
        if second[510..] == [0x55, 0xaa] && second[place..place + 4] == old {
            device.write_at(copy + place as u64, &new)?;
        }
    }
    device.write_at(place as u64, &new)?;
    Ok(true)
}
