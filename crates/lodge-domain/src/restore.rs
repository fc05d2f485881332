//! Not written yet.
use crate::options::{RestoreOptions, Ticket};
use crate::owner::{Begin, Owner};
use crate::stop::not_yet;
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
