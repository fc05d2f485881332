//! A document's devices as a list that things are put into and taken out of.

use lodge_model::domain::Domain;
use lodge_model::domain::devices::Devices;

use super::Given;
use super::find::Found;
use crate::control::Refusal;

/// Sorts that libvirt never adds to a definition by this way.
const FIXED: [&str; 10] =
    ["graphics", "hub", "memballoon", "panic", "audio", "nvram", "smartcard", "crypto", "pstore", "emulator"];

/// Puts a device into a definition.
pub(super) fn add(domain: &mut Domain, given: Given) -> Result<(), Refusal> {
    let Given { element, devices } = given;
    if FIXED.contains(&element.as_str()) {
        return Err(Refusal::unsupported(format!(
            "persistent attach of device '{element}' is not supported"
        )));
    }
    if let Some(disk) = devices.disks.first()
        && domain.devices.disks.iter().any(|other| other.target.dev == disk.target.dev)
    {
        return Err(Refusal::invalid(format!("target {} already exists", disk.target.dev)));
    }
    if devices.vsock.is_some() && domain.devices.vsock.is_some() {
        return Err(Refusal::invalid("domain already has a vsock device"));
    }
    if devices.iommu.is_some() && domain.devices.iommu.is_some() {
        return Err(Refusal::invalid("domain already has an iommu device"));
    }
    if let Some(controller) = devices.controllers.first() {
        let same = |other: &lodge_model::domain::controller::Controller| {
            controller.index.is_some() && other.kind == controller.kind && other.index == controller.index
        };
        if domain.devices.controllers.iter().any(same) {
            let index = controller.index.unwrap_or(0);
            return Err(Refusal::invalid(format!("target {}:{index} already exists", controller.kind)));
        }
    }
    put(&mut domain.devices, devices);
    Ok(())
}

/// Moves what is in `devices` into `all`.
pub(super) fn put(all: &mut Devices, mut devices: Devices) {
    for controller in &mut devices.controllers {
        if controller.index.is_none() {
            let used: Vec<u32> = all
                .controllers
                .iter()
                .filter(|other| other.kind == controller.kind)
                .filter_map(|other| other.index)
                .collect();
            controller.index = (0..=u32::from(u16::MAX)).find(|index| !used.contains(index));
        }
    }
    devices.disks.drain(..).for_each(|disk| all.insert_disk(disk));
    all.controllers.append(&mut devices.controllers);
    all.interfaces.append(&mut devices.interfaces);
    all.serials.append(&mut devices.serials);
    all.parallels.append(&mut devices.parallels);
    all.consoles.append(&mut devices.consoles);
    all.channels.append(&mut devices.channels);
    all.inputs.append(&mut devices.inputs);
    all.sounds.append(&mut devices.sounds);
    all.videos.append(&mut devices.videos);
    all.redirdevs.append(&mut devices.redirdevs);
    all.rngs.append(&mut devices.rngs);
    all.watchdogs.append(&mut devices.watchdogs);
    all.vsock = all.vsock.take().or(devices.vsock.take());
    all.hostdevs.append(&mut devices.hostdevs);
    all.filesystems.append(&mut devices.filesystems);
    all.leases.append(&mut devices.leases);
    all.tpms.append(&mut devices.tpms);
    all.shmems.append(&mut devices.shmems);
    all.memory_modules.append(&mut devices.memory_modules);
    all.smartcards.append(&mut devices.smartcards);
    all.iommu = all.iommu.take().or(devices.iommu.take());
}

/// Takes a device out of a document.
pub(super) fn remove(domain: &mut Domain, found: &Found) {
    let devices = &mut *domain.devices;
    match found {
        Found::Disk(at) => drop(devices.disks.remove(*at)),
        Found::Controller(at) => drop(devices.controllers.remove(*at)),
        Found::Interface(at) => drop(devices.interfaces.remove(*at)),
        Found::Serial(at) => drop(devices.serials.remove(*at)),
        Found::Parallel(at) => drop(devices.parallels.remove(*at)),
        Found::Console(at) => drop(devices.consoles.remove(*at)),
        Found::Channel(at) => drop(devices.channels.remove(*at)),
        Found::Input(at) => drop(devices.inputs.remove(*at)),
        Found::Sound(at) => drop(devices.sounds.remove(*at)),
        Found::Video(at) => drop(devices.videos.remove(*at)),
        Found::Redirdev(at) => drop(devices.redirdevs.remove(*at)),
        Found::Rng(at) => drop(devices.rngs.remove(*at)),
        Found::Watchdog(at) => drop(devices.watchdogs.remove(*at)),
        Found::Memballoon => devices.memballoon = None,
        Found::Vsock => devices.vsock = None,
        Found::Hostdev(at) => drop(devices.hostdevs.remove(*at)),
        Found::Filesystem(at) => drop(devices.filesystems.remove(*at)),
        Found::Lease(at) => drop(devices.leases.remove(*at)),
        Found::Tpm(at) => drop(devices.tpms.remove(*at)),
        Found::Shmem(at) => drop(devices.shmems.remove(*at)),
        Found::Memory(at) => drop(devices.memory_modules.remove(*at)),
        Found::Smartcard(at) => drop(devices.smartcards.remove(*at)),
        Found::Iommu => devices.iommu = None,
    }
}
