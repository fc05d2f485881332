//! The UUID of a LUKS device, in its header: text of at most 39 characters, and in LUKS2 both headers with their sums.
//!
//! Layout: the LUKS1 and LUKS2 on-disk format specifications. No key is needed or touched.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Fault;
use crate::blocks::Blocks;

const MAGIC: &[u8] = b"LUKS\xba\xbe";
/// The second header of LUKS2 begins so.
const MAGIC_SECOND: &[u8] = b"SKUL\xba\xbe";
const BINARY_BYTES: usize = 4096;
const UUID: usize = 168;
const UUID_BYTES: usize = 40;
const SUM: usize = 448;
const SUM_BYTES: usize = 64;
/// The header's sizes that LUKS2 has.
const HEADER_MAX_BYTES: u64 = 4 << 20;

/// Sets it; says whether it was otherwise.
pub(crate) fn set_uuid(device: &dyn Blocks, uuid: Uuid) -> Result<bool, Fault> {
    let mut text = [0; UUID_BYTES];
    text[..36].copy_from_slice(uuid.to_string().as_bytes());
    let mut binary = vec![0; BINARY_BYTES];
    device.read_at(0, &mut binary)?;
    if !binary.starts_with(MAGIC) {
        return Err(Fault::Damaged("it has no LUKS header".to_owned()));
    }
    if binary[UUID..UUID + UUID_BYTES] == text {
        return Ok(false);
    }
    match u16::from_be_bytes([binary[6], binary[7]]) {
        1 => device.write_at(UUID as u64, &text)?,
        2 => {
            let size = header_size(&binary)?;
            let headers =
                [(size, MAGIC_SECOND), (0, MAGIC)].map(|(at, magic)| header(device, at, size, magic));
            let [second, first] = headers;
            // The first decides what it is; a damaged second one stays so, as cryptsetup mends it from the first.
            let first = first?.ok_or_else(|| Fault::Damaged("its LUKS2 header's sum is wrong".to_owned()))?;
            for (at, header) in second?.map(|header| (size, header)).into_iter().chain([(0, first)]) {
                device.write_at(at, &renamed(header, &text))?;
            }
        }
        version => return Err(Fault::Unsupported(format!("LUKS of version {version} is not known here"))),
    }
    Ok(true)
}

fn header_size(binary: &[u8]) -> Result<u64, Fault> {
    let size = binary[8..].first_chunk().copied().map_or(0, u64::from_be_bytes);
    if size.is_power_of_two() && (16 << 10..=HEADER_MAX_BYTES).contains(&size) {
        return Ok(size);
    }
    Err(Fault::Damaged(format!("its LUKS2 header says it has {size} bytes")))
}

/// A header with its text, if its sum is right.
fn header(device: &dyn Blocks, at: u64, size: u64, magic: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    device.read_at(at, &mut bytes)?;
    if bytes[72..104].split(|byte| *byte == 0).next() != Some(b"sha256") {
        return Err(Fault::Unsupported("its LUKS2 header has a sum other than SHA-256".to_owned()));
    }
    let is_whole = bytes.starts_with(magic) && bytes[SUM..SUM + SUM_BYTES] == sum(&bytes);
    Ok(is_whole.then_some(bytes))
}

fn renamed(mut header: Vec<u8>, text: &[u8; UUID_BYTES]) -> Vec<u8> {
    header[UUID..UUID + UUID_BYTES].copy_from_slice(text);
    let sum = sum(&header);
    header[SUM..SUM + SUM_BYTES].copy_from_slice(&sum);
    header
}

/// Over binary part and text, with zeros where the sum itself is.
fn sum(header: &[u8]) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    let mut hash = Sha256::new();
    hash.update(&header[..SUM]);
    hash.update([0; SUM_BYTES]);
    hash.update(&header[SUM + SUM_BYTES..]);
    sum[..32].copy_from_slice(&hash.finalize());
    sum
}
