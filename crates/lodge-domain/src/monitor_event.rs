//! What a guest's QEMU told, as it told it, for those who want QEMU's own words (`virsh qemu-monitor-event`).
//!
//! Every event that a guest's monitor brings, in its order, whatever else is made of it. Deliberately absent: keeping
//! any; who lags has missed them.

use std::sync::Arc;

use lodge_model::DomainId;
use lodge_qemu::qmp::Event;

use crate::domains::Shared;
use crate::index::Entry;

/// An event of one guest's QEMU.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorEvent {
    /// Whose.
    pub domain: DomainId,
    /// Its name at that time.
    pub name: Arc<str>,
    /// Its number at that time.
    pub domid: Option<u32>,
    /// What QEMU said.
    pub event: Event,
}

impl Shared {
    /// Hands it on.
    pub(crate) fn publish_monitor(&self, entry: &Entry, event: Event) {
        if self.monitor_events.receiver_count() == 0 {
            return;
        }
        let (name, domid) = (entry.name(), entry.snapshot.load().domid());
        let _ = self.monitor_events.send(MonitorEvent { domain: entry.id, name, domid, event });
    }
}
