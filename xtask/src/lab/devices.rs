//! `cargo xtask lab devices`: a host with devices to give away, all of them emulated, and `lodge` on it.
//!
//! Its IOMMU lets VFIO take the network card, and virtual functions of another one; the TPM is swtpm's. What is tried is `devices.sh`, the guest's first process.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::guest::LabGuest;
use crate::command::{cargo, run, target};

/// The full kernel: that of clouds has neither USB nor VFIO.
const PACKAGES: &str =
    "linux-image-amd64,kmod,udev,procps,iproute2,qemu-system-x86,libvirt-clients,openvswitch-switch,nftables";
const INIT: &str = include_str!("devices.sh");
/// What it tries of disks by NVMe.
const NVME: &str = include_str!("nvme.sh");
/// And of network filters.
const FILTERS: &str = include_str!("filters.sh");

/// Builds `lodge`, and gives it that host.
pub fn devices() -> Result<()> {
    run(cargo().args(["build", "--quiet", "-p", "lodge"]))?;
    let place = target().join("lab/devices");
    fs::create_dir_all(&place)?;
    // Most of the program is for a debugger, which nobody has there.
    let program = place.join("lodge");
    run(Command::new("strip").arg("-o").arg(&program).arg(target().join("debug/lodge")))?;
    let tpm = place.join("tpm");
    drop(fs::remove_dir_all(&tpm));
    fs::create_dir_all(&tpm)?;
    let hardware = hardware(&place, &tpm)?;
    let mut swtpm = Command::new("swtpm")
        .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
        .arg(format!("dir={}", tpm.display()))
        .arg("--ctrl")
        .arg(format!("type=unixio,path={}", socket(&tpm)))
        .spawn()
        .context("swtpm does not start")?;
    let nvme = place.join("nvme.sh");
    fs::write(&nvme, NVME)?;
    let filters = place.join("filters.sh");
    fs::write(&filters, FILTERS)?;
    let guest = LabGuest {
        place,
        suite: "bookworm",
        packages: PACKAGES,
        init: INIT,
        files: &[(&program, "lodge"), (&nvme, "nvme.sh"), (&filters, "filters.sh")],
        hardware: &hardware,
        append: "intel_iommu=on",
    };
    let outcome = guest.run();
    // It ends with the guest; should it not, nobody needs it any more.
    drop(swtpm.kill());
    swtpm.wait()?;
    outcome
}

fn socket(tpm: &Path) -> String {
    tpm.join("control.sock").display().to_string()
}

/// What the host has beside a processor and a disk.
fn hardware(place: &Path, tpm: &Path) -> Result<Vec<String>> {
    for disk in ["stick.raw", "unit.raw", "nvme.raw"] {
        fs::File::create(place.join(disk))?.set_len(8 << 20)?;
    }
    let image = |name: &str| place.join(name).display().to_string();
    let pairs = [
        ("-device", "intel-iommu,intremap=on".to_owned()),
        // Behind a port of its own: a group of its own.
        ("-device", "pcie-root-port,id=port1,chassis=1,slot=1".to_owned()),
        ("-device", "e1000e,bus=port1,netdev=n0,mac=52:54:00:00:00:77".to_owned()),
        ("-netdev", "user,id=n0,restrict=on".to_owned()),
        ("-device", "pcie-root-port,id=port2,chassis=2,slot=2".to_owned()),
        ("-drive", format!("if=none,id=nvme,format=raw,file={}", image("nvme.raw"))),
        ("-device", "nvme,bus=port2,drive=nvme,serial=LODGE3".to_owned()),
        // One with virtual functions.
        ("-device", "pcie-root-port,id=port3,chassis=3,slot=3".to_owned()),
        ("-device", "igb,bus=port3,netdev=n1,mac=52:54:00:00:00:78".to_owned()),
        ("-netdev", "user,id=n1,restrict=on".to_owned()),
        ("-device", "qemu-xhci,id=usb".to_owned()),
        ("-drive", format!("if=none,id=stick,format=raw,file={}", image("stick.raw"))),
        ("-device", "usb-storage,bus=usb.0,drive=stick,serial=LODGE1".to_owned()),
        ("-device", "usb-kbd,bus=usb.0".to_owned()),
        ("-device", "usb-kbd,bus=usb.0".to_owned()),
        ("-device", "usb-tablet,bus=usb.0".to_owned()),
        ("-device", "virtio-scsi-pci,id=scsi".to_owned()),
        ("-drive", format!("if=none,id=unit,format=raw,file={}", image("unit.raw"))),
        ("-device", "scsi-hd,bus=scsi.0,channel=0,scsi-id=3,lun=0,drive=unit".to_owned()),
        ("-chardev", format!("socket,id=tpm,path={}", socket(tpm))),
        ("-tpmdev", "emulator,id=tpm0,chardev=tpm".to_owned()),
        ("-device", "tpm-tis,tpmdev=tpm0".to_owned()),
    ];
    Ok(pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect())
}
