//! What a definition gains: all that libvirt adds to a document when a domain is defined.
//!
//! The order is libvirt's (qemu_postparse.c, domain_postparse.c, qemu_domain_address.c), because later steps see
//! what earlier ones made: a disk calls for a controller, the controller for a PCI slot, the slot for a bridge.
//!
//! Deliberately absent: anything that depends on the running host beyond [`Platform`]; judging, which is `check`.

mod basics;
mod chardevs;
mod controllers;
mod disks;
mod firmware;
mod hostdevs;
mod kinds;
mod modules;
mod numa;
mod pci;
mod pci_buses;
mod screens;
mod tuning;
mod usb;

pub(super) use disks::target_number;

use super::devices::Devices;
use super::{Domain, Platform};
use crate::xml::Element;
use crate::{Fault, Faults};

/// The boards whose layout is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Board {
    /// `pc-i440fx-…`: PCI.
    I440fx,
    /// `pc-q35-…`: PCI Express.
    Q35,
    /// Any other: nothing is assumed of it.
    Other,
}

impl Board {
    /// The board of a machine type.
    pub(super) fn of(domain: &Domain) -> Self {
        match domain.os.kind.machine.as_deref().unwrap_or_default() {
            "q35" => Self::Q35,
            "pc" => Self::I440fx,
            machine if machine.starts_with("pc-q35-") => Self::Q35,
            machine
                if machine.starts_with("pc-i440fx-")
                    || machine.starts_with("pc-0.")
                    || machine.starts_with("pc-1.") =>
            {
                Self::I440fx
            }
            _ => Self::Other,
        }
    }
}

impl Domain {
    /// Adds all that libvirt adds when a domain is defined: UUID, MAC addresses, controllers, addresses …
    /// Doing it twice changes nothing more. Its faults are lacks: no slot or port is left, no firmware fits.
    pub fn complete(&mut self, platform: &Platform) -> Result<(), Faults> {
        too_many(&self.devices)?;
        security(self, platform)?;
        // A running guest's text may be given as a definition.
        self.forget_live();
        modules::complete(self);
        basics::complete(self, platform);
        firmware::complete(self, platform)?;
        kinds::complete(self, platform);
        let board = Board::of(self);
        disks::complete(&mut self.devices);
        chardevs::complete(&mut self.devices);
        let ps2 = self.features.as_deref().and_then(|features| features.ps2.as_ref());
        let has_ps2 = ps2.is_none_or(|ps2| ps2.state.is_on());
        screens::complete(&mut self.devices, platform, board, has_ps2);
        basics::complete_interfaces(&mut self.devices);
        hostdevs::complete(&mut self.devices);
        if board == Board::Other {
            return Ok(());
        }
        controllers::complete(&mut self.devices, board);
        usb::complete(&mut self.devices)?;
        pci::complete(&mut self.devices, board)?;
        // With those that were added: what is stored must be read again.
        too_many(&self.devices)
    }
}

/// Refuses what this host cannot give any guest, as libvirt does when a guest is defined.
fn security(domain: &Domain, platform: &Platform) -> Result<(), Faults> {
    let kind = domain.security().ok().flatten().map(|security| security.kind());
    let Some(kind) = kind.filter(|kind| platform.launch_security.iter().all(|known| known != kind)) else {
        return Ok(());
    };
    let message = format!("'{kind}' launch security is not supported by this host and its QEMU");
    Err(Faults(vec![Fault::at("/domain/launchSecurity", message)]))
}

/// Most devices of one sort: what is done with them may take the square of the time.
const DEVICES_MAX: usize = 1024;

fn too_many(devices: &Devices) -> Result<(), Faults> {
    let counts = [
        ("disk", devices.disks.len()),
        ("controller", devices.controllers.len()),
        ("interface", devices.interfaces.len()),
        ("serial", devices.serials.len()),
        ("parallel", devices.parallels.len()),
        ("console", devices.consoles.len()),
        ("channel", devices.channels.len()),
        ("input", devices.inputs.len()),
        ("sound", devices.sounds.len()),
        ("video", devices.videos.len()),
        ("redirdev", devices.redirdevs.len()),
        ("hub", devices.hubs.len()),
        ("rng", devices.rngs.len()),
        ("filesystem", devices.filesystems.len()),
        ("smartcard", devices.smartcards.len()),
        ("tpm", devices.tpms.len()),
        ("hostdev", devices.hostdevs.len()),
        ("shmem", devices.shmems.len()),
        ("memory", devices.memory_modules.len()),
        ("crypto", devices.cryptos.len()),
    ];
    let over = counts.into_iter().filter(|(_, count)| *count > DEVICES_MAX);
    let fault = |(name, count)| {
        Fault::at(
            format!("/domain/devices/{name}"),
            format!("{count} of them; at most {DEVICES_MAX} are possible"),
        )
    };
    Faults(over.map(fault).collect()).into_result()
}
