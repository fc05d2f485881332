//! Not written yet.
use crate::options::{RestoreOptions, SaveOptions, Ticket};
use crate::owner::{Begin, Owner};
use crate::power::not_yet;
use lodge_model::domain::Domain;
use std::path::{Path, PathBuf};
pub(crate) fn save(o: &mut Owner, _file: PathBuf, _options: SaveOptions, _t: &Ticket) -> Begin {
    not_yet(o)
}
pub(crate) fn managed_save(o: &mut Owner, _options: SaveOptions, _t: &Ticket) -> Begin {
    not_yet(o)
}
pub(crate) fn remove_managed_save(o: &mut Owner) -> Begin {
    not_yet(o)
}
pub(crate) async fn read_for_restore(
    _s: &crate::domains::Shared,
    file: &Path,
    _o: RestoreOptions,
) -> Result<(Domain, RestoreOptions), crate::DomainError> {
    Err(crate::DomainError::File {
        act: "restore from",
        path: file.into(),
        source: std::io::ErrorKind::Unsupported.into(),
    })
}
pub(crate) struct Saved {
    pub document: Domain,
    pub memory: crate::start::SavedMemory,
    pub paused: bool,
}
pub(crate) async fn managed_save_of(
    _s: &crate::domains::Shared,
    _n: &str,
    _o: crate::StartOptions,
) -> Result<Option<Saved>, crate::DomainError> {
    Ok(None)
}

pub(crate) const SAGA: &str = "domain-save";
pub(crate) async fn resume(
    _s: &std::sync::Arc<crate::domains::Shared>,
    _e: &std::sync::Arc<crate::index::Entry>,
    _o: lodge_store::saga::OpenSaga,
) -> Option<crate::owner::Ended> {
    None
}
pub(crate) fn managed_path(s: &crate::domains::Shared, name: &str) -> PathBuf {
    s.config.store.root().managed_saves().join(format!("{name}.save"))
}
pub(crate) fn managed_saves(_d: &Path) -> std::collections::HashSet<String> {
    std::collections::HashSet::new()
}
