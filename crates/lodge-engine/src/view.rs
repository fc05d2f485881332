//! What a caller sees of a domain: the owner's snapshot, joined with what other resources know of it.

use std::time::{Duration, SystemTime};

use lodge_api::{AcceleratorView, DomainState, DomainView};
use lodge_domain::Snapshot;

/// The view of `snapshot` without what only other resources know (addresses, readiness).
pub(crate) fn domain(snapshot: &Snapshot) -> DomainView {
    let (state, reason) = snapshot.state.words();
    let vmm = snapshot.vmm.as_deref();
    DomainView {
        id: snapshot.domid().and_then(|id| i32::try_from(id).ok()),
        uuid: snapshot.id.0,
        name: snapshot.name.to_string(),
        title: snapshot.summary.title.as_deref().map(str::to_owned),
        state: state_of(state),
        reason: reason.to_owned(),
        persistent: snapshot.persistent,
        autostart: snapshot.autostart,
        managed_save: snapshot.managed_save,
        snapshots: u32::try_from(snapshot.snapshots).unwrap_or(u32::MAX),
        vcpus: snapshot.summary.vcpus,
        max_memory_kib: snapshot.summary.memory_max.0 / 1024,
        memory_kib: snapshot.summary.memory.0 / 1024,
        os_type: snapshot.summary.os_type.to_string(),
        domain_type: snapshot.summary.domain_type.to_string(),
        cpu_time_ns: None,
        accelerator: vmm.map(|vmm| AcceleratorView {
            name: vmm.accelerator.to_string(),
            why: vmm.accelerator_reason.to_string(),
        }),
        image: snapshot.summary.image.as_deref().map(str::to_owned),
        machine_id: None,
        addresses: Vec::new(),
        readiness: None,
        silent_ms: snapshot.silent_for().map(millis),
        job: snapshot.job.as_ref().and_then(|job| job.id).map(|id| id.0),
        pid: vmm.map(|vmm| vmm.process.pid),
        security_model: "none".to_owned(),
        security_doi: "0".to_owned(),
        warnings: warnings(snapshot),
        changed: snapshot.changed,
        created_ms: None,
        started_ms: vmm.map(|vmm| unix_ms(vmm.started)),
    }
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let mut warnings = snapshot.vmm.as_ref().map(|vmm| vmm.warnings.clone()).unwrap_or_default();
    if let Some(fault) = &snapshot.bad_edit {
        warnings.push(format!(
            "its file was edited by hand and is not valid, so the edit is not in force: {fault}"
        ));
    }
    warnings
}

fn state_of(word: &str) -> DomainState {
    DomainState::ALL.into_iter().find(|state| state.word() == word).unwrap_or(DomainState::NoState)
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map(millis).unwrap_or_default()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
