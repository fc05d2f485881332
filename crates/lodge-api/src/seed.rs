//! Seeds: what a guest's cloud-init is given at its first boot.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to give.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SeedSpec {
    /// cloud-init's user-data (a cloud-config or a script).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Public SSH keys that may log in, beside those of the user-data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// The guest's host name; none given: its user-data's, else the domain's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// A domain's seed as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SeedView {
    /// cloud-init runs its first-boot modules when this is new to the guest.
    pub instance_id: String,
    /// The guest's host name.
    pub hostname: String,
    /// The user-data, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// The keys that were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// The seed's disk image on the host, once written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
