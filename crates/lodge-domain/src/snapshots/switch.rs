//! Letting a running guest write new files from one moment on: QEMU's `blockdev-snapshot`, all disks in one transaction.
//!
//! The files are opened here and given to QEMU as descriptors. Once the transaction is done there is no way back; so it
//! comes after everything that has one, and whether it was done is asked of QEMU, not remembered.

use std::path::PathBuf;

use lodge_model::domain::Domain;
use lodge_model::domain::disk::Disk;
use lodge_qemu::qmp::Monitor;
use lodge_qemu::{Accelerator, Claims, Descriptors, FdNumber, Link, device_arguments, plug};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::inside::node_of;
use super::overlay::{Overlay, put_in, set_file};
use crate::block_job::layers::{layers, paths};
use crate::control::{Refusal, Running, Sort};

/// Gives each overlay a number that no node of the guest's has.
pub(super) async fn number(monitor: &Monitor, overlays: &mut [Overlay]) -> Result<(), Refusal> {
    let mut next = crate::control::device::next_node(monitor).await?;
    for overlay in overlays {
        overlay.node = u32::try_from(next).unwrap_or(u32::MAX);
        next += 1;
    }
    Ok(())
}

fn name_of(overlay: &Overlay) -> String {
    format!("libvirt-{}-format", overlay.node)
}

#[derive(Debug, Deserialize)]
struct Node {
    #[serde(default, rename = "node-name")]
    name: String,
    #[serde(default)]
    backing_file_depth: u32,
}

/// Whether the guest writes the new files already.
pub(super) async fn is_done(monitor: &Monitor, overlays: &[Overlay]) -> Result<bool, Refusal> {
    let nodes: Vec<Node> = monitor.execute("query-named-block-nodes", json!({ "flat": true })).await?;
    let stands = |overlay: &Overlay| {
        nodes.iter().any(|node| node.name == name_of(overlay) && node.backing_file_depth > 0)
    };
    Ok(!overlays.is_empty() && overlays.iter().all(stands))
}

/// Does it. On failure the guest writes its old files, and nothing of the new ones is in QEMU.
pub(super) async fn switch(running: &Running, overlays: &[Overlay]) -> Result<(), Refusal> {
    if is_done(&running.monitor, overlays).await? {
        return Ok(());
    }
    let mut made = Vec::new();
    let outcome = async {
        let mut actions = Vec::new();
        for overlay in overlays {
            let own = disk(&running.document, overlay)?;
            let below = node_of(own).ok_or_else(|| {
                Refusal::internal(format!("the node of disk '{}' is not known", overlay.target))
            })?;
            made.push(open(running, own, overlay).await?);
            let data = json!({ "node": below, "overlay": name_of(overlay) });
            actions.push(json!({ "type": "blockdev-snapshot", "data": data }));
        }
        let _: IgnoredAny = running.monitor.execute("transaction", json!({ "actions": actions })).await?;
        Ok(())
    };
    let outcome: Result<(), Refusal> = outcome.await;
    if outcome.is_err() && !is_done(&running.monitor, overlays).await.unwrap_or(false) {
        for plugged in made.into_iter().rev() {
            plugged.take_back(&running.monitor).await;
        }
        for overlay in overlays {
            let Ok(own) = disk(&running.document, overlay) else { continue };
            let claim = alone(running, own, overlay);
            if let Err(error) = running.shared.ports.volumes.release_some(running.id(), &claim).await {
                tracing::warn!(domain = %running.id(), %error, "a snapshot's file was not given back");
            }
        }
    }
    outcome
}

/// The guest's document names the new files. What it had of the old ones is what it has of any file that its disks stand
/// on: from now on they may be read.
pub(super) async fn restack(running: &mut Running, overlays: &[Overlay]) {
    let before = |overlay: &Overlay| {
        let mut files = disk(&running.document, overlay)
            .and_then(layers)
            .map_or_else(|_| vec![overlay.backing.clone()], |layers| paths(&layers));
        files.push(overlay.path.clone());
        files
    };
    let before: Vec<Vec<PathBuf>> = overlays.iter().map(before).collect();
    put_in(&mut running.document, overlays, true);
    for (overlay, before) in overlays.iter().zip(&before) {
        if let Ok(own) = disk(&running.document, overlay) {
            crate::block_job::settle_locks(running, before, own).await;
        }
    }
}

fn disk<'a>(document: &'a Domain, overlay: &Overlay) -> Result<&'a Disk, Refusal> {
    let found = document.devices.disks.iter().find(|disk| disk.target.dev == overlay.target);
    found.ok_or_else(|| Refusal::invalid(format!("the guest has no disk '{}'", overlay.target)))
}

/// A document with the disk alone, on the new file alone: what it stands on is the guest's already.
fn alone(running: &Running, own: &Disk, overlay: &Overlay) -> Domain {
    let mut disk = own.clone();
    disk.source = None;
    set_file(&mut disk, &overlay.path, None);
    disk.set_encryption(None);
    disk.backing_store = None;
    // So that storage looks at this file and at no other.
    disk.driver.get_or_insert_default().format = Some("raw".to_owned());
    let devices = lodge_model::domain::devices::Devices {
        emulator: running.document.devices.emulator.clone(),
        disks: vec![disk],
        ..lodge_model::domain::devices::Devices::default()
    };
    crate::control::device::alone(running, devices)
}

async fn open(running: &Running, own: &Disk, overlay: &Overlay) -> Result<lodge_qemu::Plugged, Refusal> {
    let mut with = alone(running, own, overlay);
    let claimed = running.shared.ports.volumes.claim_more(running.id(), &with).await?;
    let link = claimed.into_iter().flat_map(|disk| disk.chain).next();
    let link = link
        .ok_or_else(|| Refusal::internal(format!("the file '{}' was not opened", overlay.path.display())))?;
    let mut descriptors = Descriptors::default();
    let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(-1));
    let link = Link::file(descriptors.pass(link.fd), "qcow2", false);
    claims.disks.insert(overlay.target.clone(), vec![link]);
    for disk in &mut with.devices.disks {
        disk.set_encryption(overlay.own_encryption().as_ref());
        // What stands between the chain and the device stays where it is.
        disk.iotune = None;
        if let Some(driver) = disk.driver.as_deref_mut() {
            (driver.copy_on_read, driver.format) = (None, Some("qcow2".to_owned()));
        }
    }
    for passphrase in running.shared.ports.volumes.passphrases(&with).await? {
        let file = descriptors.pass(passphrase.file);
        claims.passphrases.insert((passphrase.target, passphrase.depth), file);
    }
    let first = usize::try_from(overlay.node).unwrap_or(usize::MAX);
    let capabilities = running.shared.config.capabilities_of(&running.document);
    let line = device_arguments(&with, capabilities, &claims, first);
    let mut line = line.map_err(|refusals| Refusal::new(Sort::ConfigUnsupported, refusals.to_string()))?;
    line.arguments.retain(|argument| argument.option != "-device");
    // A try that was cut short may have left its nodes.
    lodge_qemu::remove_layer(&running.monitor, overlay.node).await;
    Ok(plug(&running.monitor, &line, &descriptors).await?)
}
