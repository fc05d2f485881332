//! A document's devices as a list that things are put into and taken out of.

use lodge_model::domain::Domain;
use lodge_model::domain::devices::Devices;
use lodge_model::xml::Foreign;

use super::Given;
use super::find::Found;
use crate::control::Refusal;

/// Sorts that libvirt never adds to a definition by this way.
const FIXED: [&str; 10] =
    ["graphics", "hub", "memballoon", "panic", "audio", "nvram", "smartcard", "crypto", "pstore", "emulator"];

/// What is kept as it is, by element.
pub(super) fn kept_list<'a>(devices: &'a Devices, element: &str) -> Option<&'a Foreign> {
    Some(match element {
        "hostdev" => &devices.hostdev,
        "filesystem" => &devices.filesystem,
        "lease" => &devices.lease,
        "tpm" => &devices.tpm,
        "shmem" => &devices.shmem,
        "memory" => &devices.memory_modules,
        "iommu" => &devices.iommu,
        "smartcard" => &devices.smartcard,
        _ => return None,
    })
}

fn kept_list_mut<'a>(devices: &'a mut Devices, element: &str) -> Option<&'a mut Foreign> {
    Some(match element {
        "hostdev" => &mut devices.hostdev,
        "filesystem" => &mut devices.filesystem,
        "lease" => &mut devices.lease,
        "tpm" => &mut devices.tpm,
        "shmem" => &mut devices.shmem,
        "memory" => &mut devices.memory_modules,
        "iommu" => &mut devices.iommu,
        "smartcard" => &mut devices.smartcard,
        _ => return None,
    })
}

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
    if let Some(controller) = devices.controllers.first() {
        let same = |other: &lodge_model::domain::controller::Controller| {
            controller.index.is_some() && other.kind == controller.kind && other.index == controller.index
        };
        if domain.devices.controllers.iter().any(same) {
            let index = controller.index.unwrap_or(0);
            return Err(Refusal::invalid(format!("target {}:{index} already exists", controller.kind)));
        }
    }
    put(&mut domain.devices, devices, &element);
    Ok(())
}

/// Moves what is in `devices` into `all`.
pub(super) fn put(all: &mut Devices, mut devices: Devices, element: &str) {
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
    let kept = kept_list(&devices, element).map(|list| list.items().to_vec()).unwrap_or_default();
    if let Some(list) = kept_list_mut(all, element) {
        for item in kept {
            list.push(item);
        }
    }
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
        Found::Kept(element, item) => {
            let mut gone = false;
            if let Some(list) = kept_list_mut(devices, element) {
                // One of them: there may be equal ones.
                list.retain(|other| {
                    let stays = gone || other != item;
                    gone |= !stays;
                    stays
                });
            }
        }
    }
}
