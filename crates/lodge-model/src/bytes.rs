//! Amounts of memory and storage, and libvirt's unit words.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An amount in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// The text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAmount {
    /// Not a number with an optional unit.
    #[error("`{0}` is no amount (a number and a unit, as 4GiB or 512M)")]
    Malformed(String),
    /// A unit nobody knows.
    #[error("`{0}` is no unit (known: bytes, KB, KiB, MB, MiB, GB, GiB, TB, TiB, PB, PiB, EB, EiB)")]
    Unit(String),
    /// More than 64 bits of bytes.
    #[error("`{0}` is more than can be counted")]
    TooLarge(String),
}

impl Bytes {
    /// This many KiB.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1024))
    }

    /// This many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self::from_kib(mib.saturating_mul(1024))
    }

    /// This many GiB.
    pub const fn from_gib(gib: u64) -> Self {
        Self::from_mib(gib.saturating_mul(1024))
    }

    /// In KiB, rounded up as libvirt rounds.
    pub const fn kib(self) -> u64 {
        self.0.div_ceil(1024)
    }

    /// In MiB, rounded up.
    pub const fn mib(self) -> u64 {
        self.0.div_ceil(1024 * 1024)
    }

    /// `number` of libvirt's `unit` (`b`, `bytes`, `k`, `KiB`, `KB`, …; case ignored).
    pub fn scaled(number: u64, unit: &str) -> Result<Self, NotAnAmount> {
        let factor = unit_factor(unit).ok_or_else(|| NotAnAmount::Unit(unit.to_owned()))?;
        let amount =
            number.checked_mul(factor).ok_or_else(|| NotAnAmount::TooLarge(format!("{number} {unit}")))?;
        Ok(Self(amount))
    }
}

/// How many bytes a unit of libvirt's is (virScaleInteger): `K` and `KiB` are 1024, `KB` is 1000.
fn unit_factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "" | "b" | "byte" | "bytes") {
        return Some(1);
    }
    let base: u64 = match unit.get(1..)? {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    let power = "kmgtpe".find(unit.get(..1)?)?;
    base.checked_pow(u32::try_from(power).ok()? + 1)
}

impl FromStr for Bytes {
    type Err = NotAnAmount;

    /// Reads `4GiB`, `512M`, `1.5G`, `1000000`, `10 GB`.
    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let bad = || NotAnAmount::Malformed(text.to_owned());
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim();
        let factor = unit_factor(unit).ok_or_else(|| NotAnAmount::Unit(unit.to_owned()))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
            return Err(bad());
        }
        let large = || NotAnAmount::TooLarge(text.to_owned());
        let whole: u64 = whole.parse().map_err(|_| large())?;
        let mut amount = u128::from(whole) * u128::from(factor);
        if !fraction.is_empty() {
            let digits: u64 = fraction.parse().map_err(|_| bad())?;
            let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
            amount += u128::from(digits) * u128::from(factor) / scale;
        }
        u64::try_from(amount).map(Self).map_err(|_| large())
    }
}

impl fmt::Display for Bytes {
    /// For people: the largest binary unit, at most two decimals, as `1.5 GiB`.
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let power = (self.0.max(1).ilog2() / 10) as usize;
        if power == 0 || self.0.is_multiple_of(1 << (10 * power)) {
            return write!(f, "{} {}", self.0 >> (10 * power), UNITS[power]);
        }
        let number = format!("{:.2}", self.0 as f64 / (1_u64 << (10 * power)) as f64);
        write!(f, "{} {}", number.trim_end_matches('0').trim_end_matches('.'), UNITS[power])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_every_unit() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("512M", 512 << 20),
            ("10 GB", 10_000_000_000),
            ("1.5G", 3 << 29),
            ("17", 17),
            ("3 bytes", 3),
            ("2k", 2048),
            ("2KB", 2000),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for bad in ["", "G", "-1", "1.G", "5 apples", "99999999999999999999", "16E", "1..5M", "1iB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_shown_in_the_largest_unit() {
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes::from_gib(4).to_string(), "4 GiB");
        assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(Bytes(1025).to_string(), "1 KiB");
    }
}
