//! Not written yet.
use crate::DomainError;
use crate::options::DestroyOptions;
use crate::owner::{Begin, Owner};
pub(crate) fn not_yet(o: &mut Owner) -> Begin {
    Begin::Now(Err(DomainError::OwnerFailed { name: o.name() }))
}
pub(crate) fn destroy(o: &mut Owner, _options: DestroyOptions) -> Begin {
    not_yet(o)
}
