//! The limits of a definition at a start: written into the guest's cgroup while nothing is in it, so that they hold
//! from QEMU's first page on. What the host's cgroups lack refuses the start, in libvirt's words.

use std::path::Path;

use lodge_model::domain::Domain;

use super::{Controller, Limits, Setting, numa, scheduler, weight};
use crate::control::Refusal;

/// Whether a document has limits of the whole guest.
pub(crate) fn is_limited(domain: &Domain) -> bool {
    !memory(domain).is_empty()
        || !disks(domain).is_empty()
        || !time(domain).is_empty()
        || numa::cells(domain).is_some()
}

/// Writes them. `cgroup`: the guest's, if it has one.
pub(crate) fn limit(domain: &Domain, cgroup: Option<&Path>) -> Result<(), Refusal> {
    let limits = |controller: Controller| {
        let found = cgroup.map(|relative| Limits::of(relative, controller));
        found.and_then(Result::ok).ok_or_else(|| controller.missing_at_start())
    };
    let memory = memory(domain);
    if !memory.is_empty() {
        let limits = limits(Controller::Memory)?;
        memory.into_iter().try_for_each(|(name, kib)| weight::apply_memory(&limits, name, kib))?;
    }
    let disks = disks(domain);
    if !disks.is_empty() {
        let limits = limits(Controller::Blkio)?;
        disks.iter().try_for_each(|(name, value)| weight::apply_disks(&limits, name, value))?;
    }
    let time = time(domain);
    if !time.is_empty() {
        let limits = limits(Controller::Cpu)?;
        time.iter().try_for_each(|(name, value)| scheduler::apply(&limits, name, value))?;
    }
    match (numa::cells(domain), limits(Controller::Cpuset)) {
        (Some((_, cells)), Ok(limits)) => limits.write("cpuset.mems", &cells.to_string()),
        // QEMU binds the guest's memory itself then.
        (Some((mode, _)), Err(_)) if mode == "strict" => Ok(()),
        (Some(_), Err(missing)) => Err(missing),
        (None, _) => Ok(()),
    }
}

fn memory(domain: &Domain) -> Vec<(&'static str, u64)> {
    let mut all = weight::memory_of_document(domain);
    all.retain(|(_, kib)| *kib < weight::UNLIMITED_KIB);
    all
}

fn disks(domain: &Domain) -> Vec<(&'static str, Setting)> {
    let mut all = weight::disks_of_document(domain);
    all.retain(|(_, value)| !matches!(value, Setting::Unsigned(0)) && *value != Setting::Text(String::new()));
    all
}

/// Those of the whole guest; those of its threads come once there are any.
fn time(domain: &Domain) -> Vec<(&'static str, Setting)> {
    let mut all = scheduler::of_document(domain);
    all.retain(|(name, value)| scheduler::OF_GUEST.contains(name) && value.signed() != 0);
    all
}
