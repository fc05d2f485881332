//! What QEMU and the kernel tell of a running guest, and what follows.
use crate::owner::{Owner, Work};
use crate::vmm::Vmm;
pub(crate) enum Fact {}
pub(crate) async fn next(_vmm: &mut Option<Box<Vmm>>) -> Fact {
    std::future::pending().await
}
pub(crate) fn take(_owner: &mut Owner, _fact: Fact) {}
pub(crate) fn tick(_owner: &mut Owner) {}
pub(crate) fn look_again(_owner: &mut Owner) {}
pub(crate) fn due(_owner: &mut Owner) -> Option<(&'static str, Work)> {
    None
}
