//! Not written yet.
use crate::options::{RestoreOptions, SaveOptions, Ticket};
use crate::owner::{Begin, Owner};
use crate::stop::not_yet;
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
