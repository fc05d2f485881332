//! Not written yet.
use crate::options::{RestoreOptions, Ticket};
use crate::owner::{Begin, Owner};
use crate::power::not_yet;
use lodge_model::domain::Domain;
use std::path::PathBuf;
pub(crate) fn restore(
    o: &mut Owner,
    _d: &Domain,
    _file: PathBuf,
    _options: &RestoreOptions,
    _t: &Ticket,
) -> Begin {
    not_yet(o)
}
pub(crate) async fn load(
    _s: &crate::domains::Shared,
    _m: &lodge_qemu::qmp::Monitor,
    _f: &crate::start::SavedMemory,
) -> Result<(), lodge_store::saga::Failure> {
    Ok(())
}
