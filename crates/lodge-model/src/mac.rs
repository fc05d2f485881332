//! Ethernet addresses.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An Ethernet address. Written in lower case with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

/// The text is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no MAC address (six pairs of hex digits, as 52:54:00:12:34:56)")]
pub struct NotAMac(pub String);

impl MacAddr {
    /// A random address under QEMU's and KVM's prefix 52:54:00, as libvirt makes them.
    pub fn random() -> Self {
        let random = uuid::Uuid::new_v4();
        let bytes = random.as_bytes();
        Self([0x52, 0x54, 0x00, bytes[0], bytes[1], bytes[2]])
    }

    /// Whether it addresses a group; a device's own address never does.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for MacAddr {
    type Err = NotAMac;

    /// Accepts what libvirt accepts: six groups of one or two hex digits between colons.
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let bad = || NotAMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut groups = text.split(':');
        for byte in &mut bytes {
            let group = groups.next().ok_or_else(bad)?;
            let plain = matches!(group.len(), 1 | 2) && group.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = plain.then(|| u8::from_str_radix(group, 16).ok()).flatten().ok_or_else(bad)?;
        }
        if groups.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = NotAMac;

    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let mac: MacAddr = "52:54:0:B8:e0:15".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:b8:e0:15");
        for bad in [
            "",
            "52:54:00:b8:e0",
            "52:54:00:b8:e0:15:16",
            "52-54-00-b8-e0-15",
            "+2:54:00:b8:e0:15",
            "525:4:0:0:0:0",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
        assert!(!MacAddr::random().is_multicast());
    }
}
