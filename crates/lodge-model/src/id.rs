//! Identities: of domains, networks, pools and jobs. Parsed once, never re-checked.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The text is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no UUID")]
pub struct NotAUuid(pub String);

/// Reads a UUID as libvirt does: 32 hex digits, hyphens and blanks between them ignored.
pub(crate) fn parse_uuid(text: &str) -> Result<Uuid, NotAUuid> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ' | '\t' | '\n')).collect();
    let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| Uuid::try_parse(&digits).ok()).flatten().ok_or_else(|| NotAUuid(text.to_owned()))
}

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new random one (RFC 9562, version 4).
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAUuid;

            fn from_str(text: &str) -> Result<Self, NotAUuid> {
                parse_uuid(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
}

uuid_id! {
    /// A domain's UUID: its identity for as long as it is defined, on whatever host.
    DomainId
}
uuid_id! {
    /// A network's UUID.
    NetworkId
}
uuid_id! {
    /// A storage pool's UUID.
    PoolId
}

/// A job's number; grows by one, never used twice under one root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_with_and_without_hyphens() {
        let id: DomainId = "fadd8c5d-c5e1-410e-b425-30da7598d0f6".parse().unwrap();
        assert_eq!("fadd8c5dc5e1410eb42530da7598d0f6".parse(), Ok(id));
        assert_eq!(id.to_string(), "fadd8c5d-c5e1-410e-b425-30da7598d0f6");
        assert!("fadd8c5d".parse::<DomainId>().is_err());
        assert!("{fadd8c5d-c5e1-410e-b425-30da7598d0f6}".parse::<DomainId>().is_err());
    }
}
