//! Why a guest's run is not to be trusted fully: somebody spoke to its QEMU or its agent past the daemon.
//!
//! Kept for a run, by its process; a daemon that comes later does not know it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use super::Guest;

/// What is known of each run, by its process and that process's start.
#[derive(Debug, Default)]
pub(crate) struct Taints(Mutex<HashMap<(u32, u64), BTreeSet<&'static str>>>);

impl Guest {
    /// Notes that its run is tainted; told once in the log.
    pub fn taint(&self, why: &'static str) {
        let Some(vmm) = &self.snapshot.vmm else { return };
        let key = (vmm.process.pid, vmm.process.start_time);
        let mut taints = self.engine.taints.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taints.entry(key).or_default().insert(why) {
            tracing::warn!(domain = %self.snapshot.name, why, "domain is tainted");
        }
        // Processes that are gone taint nothing.
        taints.retain(|(pid, start_time), _| {
            lodge_sys::process::Identity { pid: *pid, start_time: *start_time }.alive()
        });
    }

    /// Why its run is tainted, in libvirt's words.
    pub fn taints(&self) -> Vec<&'static str> {
        let Some(vmm) = &self.snapshot.vmm else { return Vec::new() };
        let key = (vmm.process.pid, vmm.process.start_time);
        let taints = self.engine.taints.0.lock().unwrap_or_else(PoisonError::into_inner);
        taints.get(&key).into_iter().flatten().copied().collect()
    }
}
