//! Events: every change is one, with a number.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number: grows, survives the daemon, never comes twice.
    pub seq: u64,
    /// When. Unix time in ms.
    pub time_ms: u64,
    /// What happened, resource first.
    #[schema(example = "domain.started")]
    pub kind: String,
    /// To what: a name.
    #[schema(example = "web1")]
    pub subject: String,
    /// More of it; which fields depends on the kind.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// From where to tell events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// First those with a greater number that are still kept, then the new ones. None given: the new ones only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}
