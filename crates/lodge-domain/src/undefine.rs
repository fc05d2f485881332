//! Not written yet.
use crate::options::UndefineOptions;
use crate::owner::{Begin, Owner};
use crate::stop::not_yet;
pub(crate) fn undefine(o: &mut Owner, _options: UndefineOptions) -> Begin {
    not_yet(o)
}
