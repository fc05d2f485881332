//! Smart cards, TPMs, shared memory, IOMMU and the like: what each needs and can have. The words are libvirt's.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::chardev::CharMode;
use crate::domain::complete::Board;
use crate::domain::crypto::CryptoBackendModel;
use crate::domain::devices::Devices;
use crate::domain::features::IoapicDriver;
use crate::domain::iommu::{Iommu, IommuDriver, IommuModel};
use crate::domain::lease::Lease;
use crate::domain::shmem::{Shmem, ShmemModelKind};
use crate::domain::smartcard::{Smartcard, SmartcardMode};
use crate::domain::stores::Pstore;
use crate::domain::tpm::{PcrBanks, Tpm, TpmBackendKind, TpmModel, TpmSourceKind, TpmVersion};
use crate::xml::OnOff;

/// A shared memory has at least so much.
const SHMEM_BYTES_MIN: u64 = 1 << 20;
/// A store for last words has at least so much.
const PSTORE_KIB_MIN: u64 = 4;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    each("lease", &devices.leases, found, lease);
    smartcards(devices, found);
    each("tpm", &devices.tpms, found, tpm);
    if devices.tpms.len() > 1 {
        found.add("/domain/devices/tpm", "only a single TPM non-proxy device is supported");
    }
    each("shmem", &devices.shmems, found, shmem);
    each("crypto", &devices.cryptos, found, |crypto, path, found| {
        if crypto.backend.model == CryptoBackendModel::Lkcf {
            found.add(format!("{path}/backend/@model"), "crypto backend lkcf is not supported");
        }
    });
    if let Some(iommu) = devices.iommu.as_deref() {
        self::iommu(domain, iommu, found);
    }
    if devices.nvram.is_some() {
        found.add("/domain/devices/nvram", "nvram device is only supported for PPC64");
    }
    if let Some(pstore) = devices.pstore.as_deref() {
        self::pstore(pstore, found);
    }
}

fn each<T>(name: &str, list: &[T], found: &mut Found, check: impl Fn(&T, &str, &mut Found)) {
    for (at, device) in list.iter().enumerate() {
        check(device, &nth(&format!("/domain/devices/{name}"), at, list.len()), found);
    }
}

fn lease(lease: &Lease, path: &str, found: &mut Found) {
    let missing = |name| format!("Missing '{name}' element for lease");
    if lease.key.is_none() {
        found.add(path, missing("key"));
    }
    if lease.lockspace.is_none() {
        found.add(path, missing("lockspace"));
    }
    match &lease.target {
        None => found.add(path, missing("target")),
        Some(target) if target.path.is_none() => {
            found.add(format!("{path}/target"), "Missing 'path' attribute to 'target' element for lease");
        }
        Some(_) => {}
    }
}

fn smartcards(devices: &Devices, found: &mut Found) {
    each("smartcard", &devices.smartcards, found, smartcard);
    if devices.smartcards.len() > 1 {
        let path = nth("/domain/devices/smartcard", 1, devices.smartcards.len());
        found.add(path, "this QEMU binary lacks multiple smartcard support");
    }
}

fn smartcard(card: &Smartcard, path: &str, found: &mut Found) {
    match card.mode {
        SmartcardMode::HostCertificates => {
            if card.certificates.len() != 3 {
                found.add(path, "host-certificates mode needs exactly three certificates");
            }
            if let Some(database) = card.database.as_ref().filter(|database| !database.starts_with('/')) {
                found.add(format!("{path}/database"), format!("expecting absolute path: {database}"));
            }
        }
        SmartcardMode::Passthrough if card.kind.is_none() => {
            found.add(path, "passthrough mode requires a character device type attribute");
        }
        SmartcardMode::Passthrough | SmartcardMode::Host => {}
    }
    match &card.place.address {
        None => {}
        Some(Address::Ccid(address)) if address.controller == 0 && address.slot == 0 => {}
        Some(Address::Ccid(_)) => {
            found.add(format!("{path}/address"), "this QEMU binary lacks multiple smartcard support");
        }
        Some(_) => found.add(format!("{path}/address"), "Controllers must use the 'ccid' address type"),
    }
}

fn tpm(tpm: &Tpm, path: &str, found: &mut Found) {
    if let Some(model) = tpm.model.filter(|model| matches!(model, TpmModel::Spapr | TpmModel::SpaprProxy)) {
        let message = format!("The QEMU executable does not support TPM model {model}");
        found.add(format!("{path}/@model"), message);
    }
    let backend = &tpm.backend;
    let path = format!("{path}/backend");
    if backend.kind == TpmBackendKind::Emulator {
        if backend.version == Some(TpmVersion::V1_2) {
            if let Some(model) = tpm.model.filter(|model| *model != TpmModel::Tis) {
                let message = format!("TPM 1.2 is not supported for model '{model}'");
                found.add(format!("{path}/@version"), message);
            }
            if backend.active_pcr_banks != PcrBanks::default() {
                found.add(
                    format!("{path}/active_pcr_banks"),
                    "<active_pcr_banks/> requires TPM version '2.0'",
                );
            }
            if backend.profile.as_ref().is_some_and(|profile| profile.source.is_some()) {
                found.add(format!("{path}/profile"), "<profile/> requires TPM version '2.0'");
            }
        }
        if backend.source.as_ref().is_some_and(|source| source.path.is_none()) {
            found.add(format!("{path}/source"), "missing TPM source path");
        }
    }
    if backend.kind == TpmBackendKind::External {
        match &backend.source {
            None => found.add(&path, "missing external TPM backend source type"),
            Some(source) if source.kind != TpmSourceKind::Unix => {
                let message = "only source type 'unix' is supported for external TPM device";
                found.add(format!("{path}/source/@type"), message);
            }
            Some(source) if source.mode == Some(CharMode::Bind) => {
                let message = "only 'connect' mode is supported for external TPM device";
                found.add(format!("{path}/source/@mode"), message);
            }
            Some(source) if source.path.is_none() => {
                found.add(format!("{path}/source"), "missing socket path for external TPM device");
            }
            Some(_) => {}
        }
    }
}

fn shmem(shmem: &Shmem, path: &str, found: &mut Found) {
    let kind = shmem.kind();
    let name = shmem.name.as_str();
    if name.contains('/') {
        found.add(format!("{path}/@name"), "shmem name cannot include '/' character");
    } else if matches!(name, "." | "..") {
        found.add(format!("{path}/@name"), format!("shmem name cannot be equal to '{name}'"));
    }
    if shmem.msi.is_some() && shmem.server.is_none() && kind != ShmemModelKind::Doorbell {
        found.add(format!("{path}/msi"), "msi option is only supported with a server");
    }
    let size = shmem.size.as_ref().map(|size| size.size.0);
    if size.is_some_and(|size| size > 0 && (size < SHMEM_BYTES_MIN || !size.is_power_of_two())) {
        let message = "shmem size must be a power of 2 and at least 1 MiB (1024 KiB)";
        found.add(format!("{path}/size"), message);
    }
    match kind {
        ShmemModelKind::Ivshmem => found.add(path, "ivshmem device is no longer supported"),
        ShmemModelKind::Plain => {
            if shmem.server.is_some() {
                let message = format!("shmem model '{kind}' is supported only with server option disabled");
                found.add(format!("{path}/server"), message);
            }
        }
        ShmemModelKind::Doorbell => {
            if shmem.server.is_none() {
                let message = format!("shmem model '{kind}' is supported only with server option enabled");
                found.add(path, message);
            }
            if size.is_some_and(|size| size > 0) {
                found.add(
                    format!("{path}/size"),
                    format!("shmem model '{kind}' does not support size setting"),
                );
            }
        }
    }
}

fn iommu(domain: &Domain, iommu: &Iommu, found: &mut Found) {
    let (path, model) = ("/domain/devices/iommu", iommu.model);
    let board = Board::of(domain);
    let is_q35 = board == Board::Q35;
    // A document that names no machine gets one first.
    let is_named = domain.os.kind.machine.is_some();
    let features = domain.features.as_deref();
    match model {
        IommuModel::Smmuv3 if board == Board::ArmVirt => {}
        IommuModel::Smmuv3 => {
            let message = format!("IOMMU device: '{model}' is only supported with ARM Virt machines");
            found.add(format!("{path}/@model"), message);
        }
        IommuModel::Intel if is_named && !is_q35 => {
            let message = format!("IOMMU device: '{model}' is only supported with Q35 machines");
            found.add(format!("{path}/@model"), message);
        }
        IommuModel::Intel => {
            if iommu.place.address.is_some() {
                found.add(format!("{path}/address"), format!("iommu model '{model}' can't have address"));
            }
        }
        IommuModel::Virtio => {
            if is_named && !is_q35 && board != Board::ArmVirt {
                let message =
                    format!("IOMMU device: '{model}' is only supported with Q35 and ARM Virt machines");
                found.add(format!("{path}/@model"), message);
            }
            if !features.is_some_and(|features| features.acpi) {
                found.add(path, format!("IOMMU device: '{model}' requires ACPI"));
            }
            if iommu.driver != IommuDriver::default() {
                let message = format!("iommu model '{model}' doesn't support additional attributes");
                found.add(format!("{path}/driver"), message);
            }
            if iommu.place.address.as_ref().is_some_and(|address| address.pci().is_none()) {
                found.add(format!("{path}/address"), format!("IOMMU device: '{model}' needs a PCI address"));
            }
        }
    }
    let driver = &iommu.driver;
    let ioapic = features.and_then(|features| features.ioapic.as_ref()).map(|ioapic| ioapic.driver);
    if driver.interrupt_remapping == Some(OnOff::On) && ioapic == Some(IoapicDriver::Kvm) {
        let message = "IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')";
        found.add(format!("{path}/driver/@intremap"), message);
    }
    if driver.eim == Some(OnOff::On) && driver.interrupt_remapping != Some(OnOff::On) {
        let message = "IOMMU eim requires interrupt remapping to be enabled";
        found.add(format!("{path}/driver/@eim"), message);
    }
}

fn pstore(pstore: &Pstore, found: &mut Found) {
    let path = "/domain/devices/pstore";
    let size = pstore.size.size.kib();
    if size < PSTORE_KIB_MIN || !size.is_power_of_two() {
        found.add(format!("{path}/size"), "invalid size of ACPI ERST pstore device");
    }
    if pstore.path.as_deref() == Some("") {
        found.add(format!("{path}/path"), "missing path for ACPI ERST pstore device");
    }
    if pstore.place.address.as_ref().is_some_and(|address| address.pci().is_none()) {
        found.add(format!("{path}/address"), "ACPI ERST device must reside on a PCI bus");
    }
}
