//! What documents are made of: how sizes are read and shown, options judged.

use std::str::FromStr as _;

use lodge_model::Bytes;

use crate::failure::{Failure, invalid};

/// `251.97 GiB`, as virsh.
pub fn pretty(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2} {}", UNITS[unit])
}

/// A size as virsh reads it: a number, with a unit if it is not bytes.
pub fn size(text: &str, option: &str) -> Result<u64, Failure> {
    let malformed = || {
        invalid(format!("Scaled numeric value '{text}' for <--{option}> option is malformed or out of range"))
    };
    Bytes::from_str(text).map(|bytes| bytes.0).map_err(|_| malformed())
}

/// virsh's word on two options that cannot both be.
pub fn exclusive(overwrite: bool, no_overwrite: bool) -> Result<(), Failure> {
    if overwrite && no_overwrite {
        return Err(invalid("Options --overwrite and --no-overwrite are mutually exclusive"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_virshs() {
        assert_eq!(pretty(0), "0.00 B");
        assert_eq!(pretty(200_704), "196.00 KiB");
        assert_eq!(pretty(1000), "1000.00 B");
        assert_eq!(size("16M", "capacity").unwrap(), 16 << 20);
        assert_eq!(size("1000", "capacity").unwrap(), 1000);
        assert!(size("x", "capacity").is_err());
    }
}
