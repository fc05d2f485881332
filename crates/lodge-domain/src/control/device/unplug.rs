//! Taking a device out of a running guest.

use std::time::Duration;

use lodge_model::domain::devices::Devices;
use lodge_model::domain::disk::{DiskBus, DiskDevice};
use lodge_model::domain::graphics::InputBus;
use lodge_model::domain::interface::InterfaceKind;
use lodge_qemu::qmp::{Event, MonitorError};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::find::{self, Found};
use super::{alone, inventory, live};
use crate::control::{Refusal, Running, Sort};

/// How long a detach waits for the guest (qemuDomainRemoveDeviceWaitTime).
const PATIENCE: Duration = Duration::from_secs(5);

/// What may be taken out of a running guest.
const LIVE: [&str; 6] = ["disk", "interface", "input", "rng", "controller", "watchdog"];

/// Asks the guest to let the device go. `wait`: until it has, for a while.
pub(super) async fn unplug(
    running: &mut Running,
    element: &str,
    found: Found,
    wait: bool,
) -> Result<(), Refusal> {
    unplug_within(running, element, found, if wait { PATIENCE } else { Duration::ZERO }).await
}

/// The same with as much patience as somebody has; none: the guest is asked and not waited for.
pub(super) async fn unplug_within(
    running: &mut Running,
    element: &str,
    found: Found,
    patience: Duration,
) -> Result<(), Refusal> {
    if !LIVE.contains(&element) {
        return Err(Refusal::unsupported(format!("live detach of device '{element}' is not supported")));
    }
    if let Found::Disk(at) = &found {
        let disk = &running.document.devices.disks[*at];
        if disk.device != DiskDevice::Disk {
            let text = format!("disk device type '{}' cannot be detached", disk.device);
            return Err(Refusal::unsupported(text));
        }
        if !matches!(disk.target.bus, Some(DiskBus::Virtio | DiskBus::Scsi | DiskBus::Usb)) {
            return Err(Refusal::unsupported("This type of disk cannot be hot unplugged"));
        }
        crate::block_job::refuse_busy(running, &disk.target.dev)?;
    }
    if let Found::Interface(at) = &found
        && running.document.devices.interfaces[*at].kind == InterfaceKind::Hostdev
    {
        let text = "live detach of an interface of type 'hostdev' is not supported yet";
        return Err(Refusal::unsupported(text));
    }
    if let Found::Input(at) = &found {
        let bus = running.document.devices.inputs[*at].bus.unwrap_or(InputBus::None);
        if !matches!(bus, InputBus::Usb | InputBus::Virtio) {
            return Err(Refusal::unsupported(format!("input device on bus '{bus}' cannot be detached")));
        }
    }
    let alias = find::place(&running.document, &found).and_then(|place| place.alias.as_ref());
    let alias = alias
        .map(|alias| alias.name.clone())
        .ok_or_else(|| Refusal::new(Sort::Failed, "device has no alias in the running guest"))?;
    let mut events = running.monitor.events();
    match running.monitor.device_del(&alias).await {
        Ok(()) => {}
        // It was asked before and has not answered yet: that is no other outcome than now.
        Err(MonitorError::Refused { description, .. })
            if description.contains("already in the process of unplug") => {}
        Err(MonitorError::Refused { class, .. }) if class == "DeviceNotFound" => {
            forget(running, &alias).await;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    if patience.is_zero() {
        return Ok(());
    }
    match tokio::time::timeout(patience, answer(&mut events, &alias)).await {
        Ok(true) => {
            forget(running, &alias).await;
            Ok(())
        }
        Ok(false) => Err(Refusal::new(Sort::Failed, "device was not unplugged: the guest rejected it")),
        // As libvirt: the guest was asked. When it has let go, the document follows.
        Err(_) => Ok(()),
    }
}

/// What the guest did: let it go, or refused.
async fn answer(events: &mut broadcast::Receiver<Event>, alias: &str) -> bool {
    loop {
        match events.recv().await {
            Ok(event) if event.data.get("device").and_then(Value::as_str) != Some(alias) => {}
            Ok(event) if event.name == "DEVICE_DELETED" => return true,
            Ok(event) if event.name == "DEVICE_UNPLUG_GUEST_ERROR" => return false,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// The guest has let the device go: what stood behind it goes, and its place in the document.
pub(in crate::control) async fn gone(running: &mut Running, alias: &str) {
    // What is told may be of one whose name another has by now.
    let path = json!({ "path": format!("/machine/peripheral/{alias}") });
    if running.monitor.execute::<IgnoredAny>("qom-list", path).await.is_ok() {
        return;
    }
    forget(running, alias).await;
}

async fn forget(running: &mut Running, alias: &str) {
    let Some((_, found)) = find::by_alias(&running.document, alias) else { return };
    let devices = &running.document.devices;
    let mut with = Devices::default();
    let mut nics = Vec::new();
    match &found {
        Found::Disk(at) => with.disks.extend(devices.disks.get(*at).cloned()),
        Found::Interface(at) => {
            let target = devices.interfaces.get(*at).and_then(|card| card.target.as_ref());
            nics.extend(target.map(|target| target.dev.clone()));
        }
        _ => {}
    }
    let target = with.disks.first().map(|disk| disk.target.dev.clone());
    inventory::remove(&mut running.document, &found);
    if target.is_some() {
        lodge_qemu::sweep_nodes(&running.monitor).await;
    }
    lodge_qemu::unplug_rest(&running.monitor, alias, target.as_deref()).await;
    let with = alone(running, with);
    live::give_back(running, &with, &nics).await;
}
