//! Views of network filters: what `nwfilter-list` and `nwfilter-binding-list` show.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::is_off;

/// A network filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkFilterView {
    /// Its name.
    #[schema(example = "clean-traffic")]
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
}

/// How to take in a filter's document, or a binding's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct NetworkFilterOptions {
    /// Refuse unknown elements and attributes, which are dropped otherwise.
    #[serde(skip_serializing_if = "is_off")]
    pub validate: bool,
}

/// A card of the host's that has a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkFilterBinding {
    /// The card's name.
    #[schema(example = "vnet0")]
    pub port: String,
    /// The filter's name.
    #[schema(example = "clean-traffic")]
    pub filter: String,
    /// The domain that it is of.
    pub owner: String,
    /// That domain's identity.
    pub owner_uuid: Uuid,
    /// The guest's hardware address.
    #[schema(example = "52:54:00:0b:2c:01")]
    pub mac: String,
}
