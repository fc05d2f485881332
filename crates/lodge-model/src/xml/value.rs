//! Texts of attributes and leaf elements as Rust values.

use crate::{DomainId, MacAddr, NetworkId, PoolId};
use std::fmt::Write as _;
use std::net::IpAddr;

/// A text that stands in an attribute or in an element without children.
pub trait Value: Sized {
    /// An empty element says nothing: it is as if it were not there, as libvirt has it with UUIDs.
    const EMPTY_IS_NONE: bool = false;

    /// Reads it; the error says what is wrong with the text.
    fn read_value(text: &str) -> Result<Self, String>;
    /// Writes it, unescaped.
    fn write_value(&self, out: &mut String);
}

impl Value for String {
    fn read_value(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn write_value(&self, out: &mut String) {
        out.push_str(self);
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Value for $number {
            fn read_value(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| {
                    format!("`{text}` is no whole number from {} to {}", <$number>::MIN, <$number>::MAX)
                })
            }

            fn write_value(&self, out: &mut String) {
                let _ = write!(out, "{self}");
            }
        })*
    };
}
numbers!(u8, u16, u32, u64, i32, i64);

macro_rules! texts {
    ($empty_is_none:literal: $($text:ty),*) => {
        $(impl Value for $text {
            const EMPTY_IS_NONE: bool = $empty_is_none;

            fn read_value(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|error: <$text as std::str::FromStr>::Err| error.to_string())
            }

            fn write_value(&self, out: &mut String) {
                let _ = write!(out, "{self}");
            }
        })*
    };
}
texts!(true: DomainId, NetworkId, PoolId, uuid::Uuid);
texts!(false: MacAddr);

impl Value for IpAddr {
    fn read_value(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("`{text}` is no IP address"))
    }

    fn write_value(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }
}

/// Reads a number as C's strtoul does with base 0: `0x…` hexadecimal, `0…` octal, else decimal.
pub(crate) fn read_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = |digits: &str, radix| {
        (!digits.is_empty() && !digits.starts_with('+'))
            .then(|| u64::from_str_radix(digits, radix).ok())
            .flatten()
    };
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        digits(hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        digits(&text[1..], 8)
    } else {
        digits(text, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_by_strtoul() {
        for (text, number) in
            [("0x1f", Some(31)), ("010", Some(8)), ("10", Some(10)), ("0", Some(0)), (" 7 ", Some(7))]
        {
            assert_eq!(read_number(text), number, "{text}");
        }
        for bad in ["", "0x", "-1", "+1", "09", "1g", "0x+1", "99999999999999999999999"] {
            assert_eq!(read_number(bad), None, "{bad}");
        }
    }
}
