//! A clone's cloud-init seed: what its source was told, as a machine's of its own.

use lodge_api::SeedSpec;
use lodge_model::DomainId;
use lodge_store::Root;

use crate::{error::Result, seed};

/// Keeps a seed for `id` if the source has one, or one is asked for: another instance, with its own host name.
pub(super) async fn give(
    root: &Root,
    (id, name): (DomainId, &str),
    source: Option<DomainId>,
    asked: Option<&SeedSpec>,
    hostname: Option<String>,
) -> Result<()> {
    let of_source = source.map(|source| seed::asked_of(root, source)).transpose()?.flatten();
    let Some(mut spec) = asked.cloned().or(of_source) else { return Ok(()) };
    if asked.is_none() || spec.hostname.is_none() {
        spec.hostname = hostname.or(spec.hostname);
    }
    seed::keep(root, id, name, spec).await.map(drop)
}

/// Takes it back.
pub(super) fn take_back(root: &Root, id: DomainId) -> Result<()> {
    seed::forget(root, id)
}
