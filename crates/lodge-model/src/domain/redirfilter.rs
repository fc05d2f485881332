//! `<redirfilter>`: which USB devices a viewer may send over.

use crate::xml::words::YesNo;
use crate::xml::{Foreign, Value, Xml, read_number};
use std::fmt::Write as _;

/// `<redirfilter>`; the first rule that fits a device counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Redirfilter {
    /// The rules.
    #[xml(children = "usbdev")]
    pub devices: Vec<RedirfilterDevice>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<usbdev class='0x08' vendor='0x1234' product='0xBEEF' version='2.56' allow='yes'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct RedirfilterDevice {
    /// The class.
    #[xml(attr)]
    pub class: Option<Code<2>>,
    /// The vendor.
    #[xml(attr)]
    pub vendor: Option<Code<4>>,
    /// The vendor's product.
    #[xml(attr)]
    pub product: Option<Code<4>>,
    /// The device's version.
    #[xml(attr)]
    pub version: Option<UsbVersion>,
    /// Whether those that fit may come.
    #[xml(attr, required)]
    pub allow: YesNo,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// A number of so many hex digits; `None` is what the document writes as `-1`: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Code<const DIGITS: usize>(pub Option<u16>);

impl<const DIGITS: usize> Value for Code<DIGITS> {
    fn read_value(text: &str) -> Result<Self, String> {
        if text.trim() == "-1" {
            return Ok(Self(None));
        }
        let most = (1_u64 << (4 * DIGITS)) - 1;
        let read = read_number(text).filter(|number| *number <= most);
        let read = read.and_then(|number| u16::try_from(number).ok());
        read.map(|number| Self(Some(number))).ok_or_else(|| format!("`{text}` is no number up to {most:#x}"))
    }

    fn write_value(&self, out: &mut String) {
        match self.0 {
            Some(number) => _ = write!(out, "0x{number:0DIGITS$X}"),
            None => out.push_str("-1"),
        }
    }
}

/// A version, as `1.10`; one digit behind the dot means tens. `None` is `-1`: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsbVersion(pub Option<(u8, u8)>);

impl UsbVersion {
    /// As USB writes it: two decimal digits a byte.
    pub fn bcd(self) -> Option<u16> {
        let (major, minor) = self.0?;
        let byte = |number: u8| u16::from(number / 10) << 4 | u16::from(number % 10);
        Some(byte(major) << 8 | byte(minor))
    }
}

impl Value for UsbVersion {
    fn read_value(text: &str) -> Result<Self, String> {
        if text == "-1" {
            return Ok(Self(None));
        }
        let read = || {
            let (major, minor) = text.split_once('.')?;
            let tens = if minor.len() == 1 { 10 } else { 1 };
            let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number < 100);
            Some((number(major)?, number(minor)? * tens))
        };
        read().map(|version| Self(Some(version))).ok_or_else(|| format!("`{text}` is no version, as 2.00"))
    }

    fn write_value(&self, out: &mut String) {
        match self.0 {
            Some((major, minor)) => _ = write!(out, "{major}.{minor:02}"),
            None => out.push_str("-1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_two_bytes_of_decimal_digits() {
        let read = |text| UsbVersion::read_value(text).map(UsbVersion::bcd);
        assert_eq!(read("2.56"), Ok(Some(0x256)));
        assert_eq!(read("1.1"), Ok(Some(0x110)));
        assert_eq!(read("-1"), Ok(None));
        assert!(read("2").is_err() && read("2.100").is_err() && read("2.x").is_err());
    }
}
