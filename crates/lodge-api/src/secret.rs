//! Views of secrets: what `secret-list` shows. A secret's value is in a document of its own and in no other.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its identity for life.
    pub uuid: Uuid,
    /// What it is for: `volume`, `ceph`, `iscsi`, `tls`, `vtpm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "volume")]
    pub usage_type: Option<String>,
    /// Of which thing: a volume's path, a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/var/lib/libvirt/images/locked.img")]
    pub usage: Option<String>,
    /// A text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// It is kept in memory alone.
    pub ephemeral: bool,
    /// Its value is told to nobody.
    pub private: bool,
}

/// A secret's value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretValue {
    /// The bytes, in base64 (RFC 4648, 4).
    #[schema(example = "aGVsbG8=")]
    pub base64: String,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue")
    }
}
