//! The UUID of a swap device: sixteen bytes of its first page; label and size stay.

use uuid::Uuid;

use super::Fault;
use crate::blocks::Blocks;

const PLACE: u64 = 1024 + 12;
/// Sizes of a page, on the machines that Linux runs on.
const PAGES: [u64; 5] = [4096, 8192, 16384, 32768, 65536];

/// Sets it; says whether it was otherwise.
pub(crate) fn set_uuid(device: &dyn Blocks, uuid: Uuid) -> Result<bool, Fault> {
    let mut is_swap = false;
    for page in PAGES.into_iter().filter(|page| *page <= device.bytes()) {
        let mut signature = [0; 10];
        device.read_at(page - 10, &mut signature)?;
        match &signature {
            b"SWAPSPACE2" => is_swap = true,
            b"S1SUSPEND\0" | b"S2SUSPEND\0" | b"ULSUSPEND\0" | b"LINHIB0001" => {
                let why = "the guest sleeps in it (start the guest, and shut it down)";
                return Err(Fault::Unsupported(why.to_owned()));
            }
            _ => {}
        }
    }
    if !is_swap {
        return Err(Fault::Damaged("it has no swap signature".to_owned()));
    }
    let mut old = [0; 16];
    device.read_at(PLACE, &mut old)?;
    if old == *uuid.as_bytes() {
        return Ok(false);
    }
    device.write_at(PLACE, uuid.as_bytes())?;
    Ok(true)
}
