//! Changing the medium of a drive: `virsh change-media`.

use std::time::Duration;

use lodge_model::domain::devices::Devices;
use lodge_model::domain::disk::{Disk, DiskDevice, SourceKind};
use serde_json::{Value, json};

use super::live::{Claimed, give_back};
use super::{Given, alone};
use crate::control::{Refusal, Running};

/// How long a guest may take to open a locked tray.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts the medium of `given` into the drive of its target; without a source the drive is left empty.
pub(super) async fn change(running: &mut Running, given: &Given, force: bool) -> Result<(), Refusal> {
    let Some(wanted) = given.devices.disks.first() else { return Ok(()) };
    let target = wanted.target.dev.clone();
    let at = running.document.devices.disks.iter().position(|disk| disk.target.dev == target);
    let at =
        at.ok_or_else(|| Refusal::internal(format!("No device with bus '{target}' and target '{target}'")))?;
    let old = running.document.devices.disks[at].clone();
    if !matches!(old.device, DiskDevice::Cdrom | DiskDevice::Floppy) {
        return Err(Refusal::internal(format!("Removable media not supported for {} device", old.device)));
    }
    crate::block_job::refuse_busy(running, &target)?;
    let mut new = with_medium(&old, wanted);
    let alias = old.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    // The new medium first: what cannot be had leaves the old one in.
    let with = alone(running, Devices { disks: vec![new.clone()], ..Devices::default() });
    let mut nodes = None;
    if new.source.is_some() {
        let claimed = Claimed::take(running, &with).await?;
        nodes = match claimed.nodes(running, &with, &mut new).await {
            Ok(node) => node,
            Err(refusal) => {
                give_back(running, &with, &[]).await;
                return Err(refusal);
            }
        };
    }
    let outcome = insert(running, &alias, old.source.is_some(), nodes.as_deref(), force).await;
    lodge_qemu::sweep_nodes(&running.monitor).await;
    let loser = if outcome.is_ok() { &old } else { &new };
    if loser.source.is_some() {
        let loser = alone(running, Devices { disks: vec![loser.clone()], ..Devices::default() });
        give_back(running, &loser, &[]).await;
    }
    outcome?;
    running.document.devices.disks[at] = new;
    Ok(())
}

/// The drive as it is, with the other's medium.
pub(super) fn with_medium(drive: &Disk, wanted: &Disk) -> Disk {
    let has_medium = wanted.source.is_some();
    let mut disk = drive.clone();
    disk.kind = if has_medium { wanted.kind } else { SourceKind::File };
    disk.source.clone_from(&wanted.source);
    disk.encryption.clone_from(&wanted.encryption);
    disk.backing_store = None;
    let format = wanted.driver.as_ref().and_then(|driver| driver.format.clone());
    disk.driver.get_or_insert_default().format = Some(format.unwrap_or_else(|| "raw".to_owned()));
    disk.target.tray = None;
    disk
}

async fn insert(
    running: &Running,
    alias: &str,
    has_old: bool,
    node: Option<&str>,
    force: bool,
) -> Result<(), Refusal> {
    open_tray(running, alias, force).await?;
    if has_old {
        running.tell_qemu("blockdev-remove-medium", json!({ "id": alias })).await?;
    }
    if let Some(node) = node {
        running.tell_qemu("blockdev-insert-medium", json!({ "id": alias, "node-name": node })).await?;
        running.tell_qemu("blockdev-close-tray", json!({ "id": alias })).await?;
    }
    Ok(())
}

/// A guest that has locked its tray is asked, and has its time to open it.
async fn open_tray(running: &Running, alias: &str, force: bool) -> Result<(), Refusal> {
    let mut events = running.monitor.events();
    let asked = running.tell_qemu("blockdev-open-tray", json!({ "id": alias, "force": force })).await;
    match asked {
        // The guest was told to open it, and has not done so yet.
        Err(refusal) if refusal.text.contains("is locked and force was not specified") => {
            let opened = async {
                while let Ok(event) = events.recv().await {
                    let is_it = event.data.get("id").and_then(Value::as_str) == Some(alias)
                        || event.data.get("device").and_then(Value::as_str) == Some(alias);
                    if event.name == "DEVICE_TRAY_MOVED" && is_it {
                        return true;
                    }
                }
                false
            };
            match tokio::time::timeout(PATIENCE, opened).await {
                Ok(true) => Ok(()),
                _ => Err(refusal),
            }
        }
        // A floppy has none.
        Err(refusal) if refusal.text.contains("does not have a tray") => Ok(()),
        other => other,
    }
}
