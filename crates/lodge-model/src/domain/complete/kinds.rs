//! What file systems, smart cards, TPMs, shared memory and the like get when nothing is said of it, and what they lose
//! that their sort does not have: libvirt's parser passes over it.

use super::Board;
use super::chardevs::complete_source;
use crate::Bytes;
use crate::domain::address::{Address, CcidAddress};
use crate::domain::chardev::CharMode;
use crate::domain::devices::Devices;
use crate::domain::features::{Ioapic, IoapicDriver};
use crate::domain::filesystem::{
    AccessMode, Filesystem, FilesystemBinary, FilesystemDriverKind, Multidevs, WritePolicy,
};
use crate::domain::iommu::{Iommu, IommuModel};
use crate::domain::redirfilter::{Code, Redirfilter, UsbVersion};
use crate::domain::shmem::{Shmem, ShmemModelKind};
use crate::domain::size::Mib;
use crate::domain::smartcard::{Smartcard, SmartcardMode};
use crate::domain::tpm::{PcrBanks, Tpm, TpmBackendKind, TpmDevice, TpmModel, TpmVersion};
use crate::domain::{Domain, Platform};
use crate::xml::{OnOff, YesNo};

/// A shared memory that says no size.
const SHMEM_BYTES: u64 = 4 << 20;
/// The TPM of a document that names none.
const TPM_DEVICE: &str = "/dev/tpm0";

/// Completes all these.
pub(super) fn complete(domain: &mut Domain, platform: &Platform) {
    let is_pc = Board::of(domain).is_pc();
    let devices = &mut *domain.devices;
    devices.filesystems.iter_mut().for_each(filesystem);
    smartcards(devices);
    devices.tpms.iter_mut().for_each(|device| tpm(device, is_pc));
    redirfilter(&mut devices.redirfilter);
    devices.shmems.iter_mut().for_each(shmem);
    for crypto in &mut devices.cryptos {
        crypto.backend.queues.take_if(|queues| *queues == 0);
    }
    if let Some(pstore) = &mut devices.pstore {
        pstore.path.get_or_insert_with(|| format!("{}/{}_PSTORE.raw", platform.nvram_dir, domain.name));
    }
    iommu(domain);
    let devices = &mut *domain.devices;
    for target in devices.leases.iter_mut().filter_map(|lease| lease.target.as_mut()) {
        target.offset.take_if(|offset| *offset == 0);
    }
}

fn filesystem(filesystem: &mut Filesystem) {
    let driver = &mut filesystem.driver;
    driver.kind.take_if(|kind| *kind == FilesystemDriverKind::Default);
    driver.write_policy.take_if(|policy| *policy == WritePolicy::Default);
    driver.queue.take_if(|queue| *queue == 0);
    if driver.kind.is_none() {
        (driver.format, driver.write_policy) = (None, None);
    }
    filesystem.multidevs.take_if(|multidevs| *multidevs == Multidevs::Default);
    filesystem.file_mode.take_if(|mode| mode.0 == 0);
    filesystem.directory_mode.take_if(|mode| mode.0 == 0);
    if filesystem.driver.kind == Some(FilesystemDriverKind::Virtiofs) {
        if let Some(binary) = filesystem.binary.as_deref_mut() {
            binary.open_files.take_if(|files| files.max == 0);
        }
        filesystem.binary.take_if(|binary| **binary == FilesystemBinary::default());
        // Groups alone are not written.
        filesystem.idmap.take_if(|map| map.users.is_empty());
    } else {
        filesystem.driver.queue = None;
        (filesystem.binary, filesystem.idmap) = (None, None);
    }
    if let Some(source) = &mut filesystem.source
        && source.socket.is_some()
    {
        source.dir = None;
    } else {
        filesystem.access_mode.get_or_insert(AccessMode::Passthrough);
    }
}

/// Cards sit in slots of readers; the first reader has the next slot (virDomainDefMaybeAddSmartcardController).
fn smartcards(devices: &mut Devices) {
    let slot = |card: &Smartcard| match &card.place.address {
        Some(Address::Ccid(address)) if address.controller == 0 => Some(address.slot),
        _ => None,
    };
    for at in 0..devices.smartcards.len() {
        let next = devices.smartcards.iter().filter_map(slot).max().map_or(0, |slot| slot.saturating_add(1));
        let card = &mut devices.smartcards[at];
        smartcard(card);
        if card.place.address.is_none() {
            card.place.address = Some(Address::Ccid(CcidAddress { slot: next, ..CcidAddress::default() }));
        }
    }
}

fn smartcard(card: &mut Smartcard) {
    if card.mode != SmartcardMode::HostCertificates {
        (card.certificates, card.database) = (Vec::new(), None);
    }
    if card.mode != SmartcardMode::Passthrough {
        (card.kind, card.sources, card.protocol, card.log) = (None, Vec::new(), None, None);
    } else if let Some(kind) = card.kind {
        complete_source(kind, &mut card.sources, &mut card.protocol);
    }
}

fn tpm(tpm: &mut Tpm, is_pc: bool) {
    let model = *tpm.model.get_or_insert(TpmModel::Tis);
    let backend = &mut tpm.backend;
    let kind = backend.kind;
    if kind == TpmBackendKind::Emulator {
        // What a PC had first; all others begin with 2.0.
        let usual = if model == TpmModel::Tis && is_pc { TpmVersion::V1_2 } else { TpmVersion::V2_0 };
        backend.version.get_or_insert(usual);
        backend.persistent_state.take_if(|persistent| *persistent == YesNo::No);
        backend.debug.take_if(|debug| *debug == 0);
        backend.profile.take_if(|profile| profile.source.is_none() && profile.name.is_none());
        if let Some(source) = &mut backend.source {
            source.mode = None;
        }
    } else {
        (backend.version, backend.persistent_state, backend.debug) = (None, None, None);
        (backend.encryption, backend.profile) = (None, None);
        backend.active_pcr_banks = PcrBanks::default();
    }
    if kind == TpmBackendKind::Passthrough {
        let device = backend.device.get_or_insert_with(TpmDevice::default);
        device.path.get_or_insert_with(|| TPM_DEVICE.to_owned());
        backend.source = None;
    } else {
        backend.device = None;
    }
    if kind == TpmBackendKind::External
        && let Some(source) = &mut backend.source
    {
        source.mode.get_or_insert(CharMode::Connect);
    }
}

fn redirfilter(filter: &mut Redirfilter) {
    for device in &mut filter.devices {
        device.class.take_if(|class| *class == Code(None));
        device.vendor.take_if(|vendor| *vendor == Code(None));
        device.product.take_if(|product| *product == Code(None));
        device.version.take_if(|version| *version == UsbVersion(None));
    }
}

/// More processors than this need interrupts that are translated.
const VCPUS_WITHOUT_EIM: u32 = 255;

/// A q35 of many processors has an IOMMU, and one that translates interrupts needs its APIC in QEMU
/// (qemuDomainIOMMUDefPostParse, qemuDomainDefEnableDefaultFeatures).
fn iommu(domain: &mut Domain) {
    let is_large = domain.vcpu.as_ref().is_some_and(|vcpu| vcpu.count > VCPUS_WITHOUT_EIM)
        && Board::of(domain) == Board::Q35;
    if is_large && domain.devices.iommu.is_none() {
        domain.devices.iommu = Some(Box::new(Iommu::default()));
    }
    let Some(iommu) = &mut domain.devices.iommu else { return };
    let driver = &mut iommu.driver;
    driver.address_bits.take_if(|bits| *bits == 0);
    if is_large && iommu.model == IommuModel::Intel {
        driver.interrupt_remapping.get_or_insert(OnOff::On);
        driver.eim.get_or_insert(OnOff::On);
    }
    if is_large || driver.interrupt_remapping == Some(OnOff::On) {
        let features = domain.features.get_or_insert_default();
        features.ioapic.get_or_insert_with(|| Ioapic { driver: IoapicDriver::Qemu, ..Ioapic::default() });
    }
}

fn shmem(shmem: &mut Shmem) {
    let kind = shmem.model.get_or_insert_default().kind;
    if kind == ShmemModelKind::Doorbell {
        let msi = shmem.msi.get_or_insert_default();
        msi.ioeventfd.get_or_insert(OnOff::On);
    } else {
        shmem.size.get_or_insert_with(|| Mib::from(Bytes(SHMEM_BYTES)));
    }
    if let Some(msi) = &mut shmem.msi {
        msi.vectors.take_if(|vectors| *vectors == 0);
    }
    if kind == ShmemModelKind::Ivshmem {
        shmem.role = None;
    }
}
