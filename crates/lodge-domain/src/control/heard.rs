//! What QEMU tells of a guest that changes its document: a device is gone, the balloon has another size.
//!
//! It is noted when it is told, and taken into the document when no other act is at work on it: the document has one
//! writer at a time.

use lodge_model::Bytes;
use lodge_model::domain::disk::Tray;
use lodge_model::domain::lifecycle::State;
use lodge_model::domain::memory::Memory;
use lodge_qemu::qmp::Event;
use serde_json::Value;

use super::amend::{running, take_live};
use super::{device, filter};
use crate::act::{Reply, Work, ended};
use crate::block_job;
use crate::observe;
use crate::owner::Owner;

/// Something told that the document is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The device with this alias is gone.
    Gone(String),
    /// The guest has so much memory now.
    Balloon(Bytes),
    /// A drive's tray is open, or closed.
    Tray { alias: String, open: bool },
    /// A block job is ready, or has ended.
    BlockJob(block_job::follow::JobTold),
    /// What happened to block jobs, and what cards listen to now, may have been missed.
    Missed,
    /// The card with this alias listens to something else.
    Filter(String),
}

/// Notes what `event` tells.
pub(crate) fn heard(owner: &mut Owner, event: &Event) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    let word = |key: &str| event.data.get(key).and_then(Value::as_str).map(str::to_owned);
    let told = match event.name.as_str() {
        "DEVICE_DELETED" => word("device").map(Told::Gone),
        "NIC_RX_FILTER_CHANGED" => word("name").map(Told::Filter),
        "BALLOON_CHANGE" => {
            event.data.get("actual").and_then(Value::as_u64).map(|actual| Told::Balloon(Bytes(actual)))
        }
        "DEVICE_TRAY_MOVED" => {
            let open = event.data.get("tray-open").and_then(Value::as_bool);
            word("id").zip(open).map(|(alias, open)| Told::Tray { alias, open })
        }
        _ => block_job::follow::told(event).map(Told::BlockJob),
    };
    vmm.told.extend(told);
}

/// What is to be done about it, now that no act is at work.
pub(crate) fn due(owner: &mut Owner) -> Option<Work> {
    if owner.vmm.as_deref()?.told.is_empty() {
        return None;
    }
    // Without a way to QEMU it waits.
    let mut guest = running(owner).ok()?;
    let stands_still = matches!(owner.state, State::Paused { .. });
    let told = std::mem::take(&mut owner.vmm.as_deref_mut()?.told);
    Some(Box::pin(async move {
        for told in told {
            match told {
                Told::Gone(alias) => device::gone(&mut guest, &alias).await,
                Told::Balloon(size) => {
                    let size = Bytes(size.0.min(guest.document.memory.size.0));
                    guest.document.current_memory = Some(Memory::from(size));
                }
                Told::BlockJob(told) => block_job::follow::take(&mut guest, told).await,
                Told::Missed => {
                    block_job::follow::look(&mut guest).await;
                    filter::look(&mut guest).await;
                }
                Told::Filter(alias) => filter::follow(&mut guest, &alias).await,
                Told::Tray { alias, open } => {
                    let is_it = |disk: &&mut lodge_model::domain::disk::Disk| {
                        disk.place.alias.as_ref().is_some_and(|known| known.name == alias)
                    };
                    if let Some(disk) = guest.document.devices.disks.iter_mut().find(is_it) {
                        // libvirt writes a tray that is open only.
                        disk.target.tray = open.then_some(Tray::Open);
                    }
                }
            }
        }
        // A daemon before held it for a disk that changed over, and it goes on now: what QEMU tells of that meanwhile is taken
        // for this act's own.
        let status = if stands_still { guest.monitor.status().await.ok() } else { None };
        ended(move |owner| {
            if let Some(status) = &status {
                observe::observe(owner, status);
            }
            take_live(owner, guest);
            Ok(Reply::Done)
        })
    }))
}
