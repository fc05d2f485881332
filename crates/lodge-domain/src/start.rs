//! Not written yet.
use crate::options::{CreateOptions, StartOptions, Ticket};
use crate::owner::{Begin, Owner};
use lodge_model::domain::Domain;
pub(crate) fn start(o: &mut Owner, _options: StartOptions, _t: &Ticket) -> Begin {
    crate::stop::not_yet(o)
}
pub(crate) fn create(o: &mut Owner, _d: &Domain, _options: CreateOptions, _t: &Ticket) -> Begin {
    crate::stop::not_yet(o)
}
