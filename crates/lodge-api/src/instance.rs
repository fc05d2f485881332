//! Instances: what `lodge run` makes of an image.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::is_off;

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// The image's name; one that can be built and is not there is built first.
    #[schema(example = "debian-12")]
    pub image: String,
    /// The domain's name; none given: one is made up from the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "web1")]
    pub name: Option<String>,
    /// Memory in KiB; none given: 1 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kib: Option<u64>,
    /// Virtual processors; none given: 2, or what the host has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// The disk's size; none given: 10 GiB, or the image's where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// The network; none given: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// cloud-init's user-data (a cloud-config or a script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Public SSH keys that may log in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// The guest's host name; none given: its user-data's, else the domain's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Define it and leave it shut off.
    #[serde(default, skip_serializing_if = "is_off")]
    pub no_start: bool,
}

/// How to remove an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct InstanceRemoval {
    /// Although it runs: it is destroyed first.
    #[serde(skip_serializing_if = "is_off")]
    pub force: bool,
    /// Do nothing; say what would go.
    #[serde(skip_serializing_if = "is_off")]
    pub dry_run: bool,
}
