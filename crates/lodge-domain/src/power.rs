//! Not written yet.
use crate::options::PowerOptions;
use crate::owner::{Begin, Owner};
use crate::stop::not_yet;
pub(crate) fn shutdown(o: &mut Owner, _options: PowerOptions) -> Begin {
    not_yet(o)
}
pub(crate) fn reboot(o: &mut Owner, _options: PowerOptions) -> Begin {
    not_yet(o)
}
pub(crate) fn reset(o: &mut Owner) -> Begin {
    not_yet(o)
}
pub(crate) fn suspend(o: &mut Owner) -> Begin {
    not_yet(o)
}
pub(crate) fn resume(o: &mut Owner) -> Begin {
    not_yet(o)
}
