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

use super::address::Place;
use super::controller::ControllerKind;
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
    /// `virt` of ARM's: PCI Express, and nothing on it at first.
    ArmVirt,
    /// The same of RISC-V's.
    RiscvVirt,
    /// `isapc`: ISA alone.
    Isa,
    /// `microvm`: neither.
    Micro,
    /// Another architecture's board that is not known here: nothing is put on it.
    Bare,
    /// Any other: nothing is assumed of it.
    Other,
}

impl Board {
    /// The board of a machine type.
    pub(super) fn of(domain: &Domain) -> Self {
        let kind = &domain.os.kind;
        let machine = kind.machine.as_deref().unwrap_or_default();
        let is_virt = machine == "virt" || machine.starts_with("virt-");
        match kind.arch.as_deref() {
            Some("aarch64" | "armv7l") if is_virt => return Self::ArmVirt,
            Some("riscv64" | "riscv32") if is_virt => return Self::RiscvVirt,
            None | Some("x86_64" | "i686") => {}
            Some(_) => return Self::Bare,
        }
        match machine {
            "isapc" => Self::Isa,
            "microvm" => Self::Micro,
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

impl Board {
    /// Whether it is one of those that are named `virt`.
    pub(super) fn is_virt(self) -> bool {
        matches!(self, Self::ArmVirt | Self::RiscvVirt)
    }

    /// Whether its PCI is PCI Express.
    pub(super) fn is_express(self) -> bool {
        self == Self::Q35 || self.is_virt()
    }

    /// Whether it is a PC.
    pub(super) fn is_pc(self) -> bool {
        !self.is_virt() && self != Self::Bare
    }

    /// Whether it has PCI.
    pub(super) fn has_pci(self) -> bool {
        self == Self::I440fx || self.is_express()
    }

    /// Whether it is a PC with ports for an old keyboard and mouse.
    pub(super) fn has_ps2(self) -> bool {
        matches!(self, Self::I440fx | Self::Q35 | Self::Isa)
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
        let platform = platform.of(self.os.kind.arch.as_deref(), self.devices.emulator.as_deref());
        modules::complete(self);
        basics::complete(self, platform);
        firmware::complete(self, platform)?;
        kinds::complete(self, platform);
        let board = Board::of(self);
        disks::complete(&mut self.devices);
        chardevs::complete(&mut self.devices, board);
        let ps2 = self.features.as_deref().and_then(|features| features.ps2.as_ref());
        let has_ps2 = ps2.is_none_or(|ps2| ps2.state.is_on());
        screens::complete(&mut self.devices, platform, board, has_ps2);
        basics::complete_interfaces(&mut self.devices, board);
        hostdevs::complete(&mut self.devices);
        if board == Board::Other {
            chardevs::channel_ports(&mut self.devices);
            return Ok(());
        }
        controllers::complete(&mut self.devices, board);
        usb_is_there(&self.devices)?;
        usb::complete(&mut self.devices)?;
        if board.is_virt() {
            pci::follow_mmio(&mut self.devices);
        }
        if board.has_pci() {
            pci::complete(&mut self.devices, board)?;
        } else {
            let wanting = pci::wanting(&mut self.devices);
            named(&self.devices, &wanting, "No PCI buses available").into_result()?;
        }
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

/// A USB device needs a controller; not every machine has one by itself.
fn usb_is_there(devices: &Devices) -> Result<(), Faults> {
    if devices.controllers.iter().any(|controller| controller.kind == ControllerKind::Usb) {
        return Ok(());
    }
    let message = "USB is disabled for this domain, but USB devices are present in the domain XML";
    named(devices, &usb::wanting(devices), message).into_result()
}

/// The same fault of each of these devices, by its element.
fn named(devices: &Devices, places: &[*const Place], message: &str) -> Faults {
    let mut faults = Vec::new();
    devices.each_place(&mut |name, at, count, place| {
        if places.contains(&std::ptr::from_ref(place)) {
            let path = format!("/domain/devices/{name}");
            let path = if count > 1 { format!("{path}[{}]", at + 1) } else { path };
            faults.push(Fault::at(path, message));
        }
    });
    Faults(faults)
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
