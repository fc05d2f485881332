//! What contradicts what in a snapshot, by libvirt's rules and in its words.

use super::{DomainSnapshot, Location, SnapshotFault, SnapshotSort, SnapshotState};
use crate::domain::Domain;
use crate::domain::disk::SourceKind;
use crate::domain::os::{FirmwareFormat, LoaderKind};

/// How the domain stands when a snapshot of it is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No QEMU of it runs.
    Off,
    /// One does: its state as a snapshot would have it.
    On(SnapshotState),
}

impl State {
    /// A QEMU of it runs.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::On(_))
    }
}

/// What a checked snapshot asks to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Its disks' states go into new files.
    pub external: bool,
    /// Some disk is left to the caller, so the guest stays paused.
    pub manual: bool,
}

impl DomainSnapshot {
    /// What must hold of every document: memory and disks make sense by themselves.
    pub(super) fn check_parts(&mut self, offline: bool, kept: bool) -> Result<(), SnapshotFault> {
        let xml = |text: String| Err(SnapshotFault::new(SnapshotSort::Xml, text));
        let file = self.memory_file().map(str::to_owned);
        let mut memory = self.memory.as_ref().and_then(|memory| memory.snapshot);
        if memory == Some(Location::Manual) {
            return xml("'manual' memory snapshot mode not supported".to_owned());
        }
        if memory.is_none() {
            memory = match (&file, kept) {
                (Some(_), _) => Some(Location::External),
                (None, true) if offline => Some(Location::No),
                (None, true) => Some(Location::Internal),
                (None, false) => None,
            };
        }
        match (&file, memory) {
            (Some(file), memory) if memory != Some(Location::External) => {
                return xml(format!("memory filename '{file}' requires external snapshot"));
            }
            (None, Some(Location::External)) => {
                return xml("external memory snapshots require a filename".to_owned());
            }
            _ => {}
        }
        if offline && !matches!(memory, None | Some(Location::No)) {
            return xml("memory state cannot be saved with offline or disk-only snapshot".to_owned());
        }
        if let Some(file) = file.filter(|file| !file.starts_with('/')) {
            return xml(format!("memory snapshot file path ({file}) must be absolute"));
        }
        if let Some(memory) = memory {
            self.set_memory(memory);
        }
        self.disks.iter_mut().flat_map(|disks| &mut disks.disks).try_for_each(check_disk)
    }

    /// What libvirt's QEMU driver lets be taken. The snapshot is aligned.
    pub fn check(&self, domain: &Domain, state: State) -> Result<Plan, SnapshotFault> {
        let unsupported = |text: &str| Err(SnapshotFault::of_qemu(SnapshotSort::ConfigUnsupported, text));
        let (mut internal, mut forbids_internal, mut external, mut manual) = (false, false, false, false);
        for (disk, own) in self.disks().iter().zip(&domain.devices.disks) {
            match disk.location() {
                Location::Internal => {
                    internal = true;
                    check_internal(self, disk.name(), own, state)?;
                }
                Location::External => {
                    external = true;
                    check_external(disk, own, state)?;
                }
                Location::Manual => (manual, forbids_internal) = (true, true),
                Location::No => forbids_internal |= own.source.is_some() && !own.readonly,
            }
        }
        let memory = self.memory();
        if !internal && !external && memory == Location::No {
            return unsupported("nothing selected for snapshot");
        }
        if (memory == Location::Internal && !internal) || (internal && forbids_internal) {
            return unsupported(
                "internal and full system snapshots require all disks to be selected for snapshot",
            );
        }
        if self.state() == SnapshotState::DiskSnapshot && !external {
            return unsupported("disk-only snapshots require at least one disk to be selected for snapshot");
        }
        let is_mixed = external && (internal || memory == Location::Internal)
            || internal && memory == Location::External;
        if is_mixed {
            return unsupported("mixing internal and external targets for a snapshot is not yet supported");
        }
        if state.is_active() && internal && has_raw_variables(domain) {
            let text = "internal snapshots of a VM with pflash based firmware require QCOW2 nvram format";
            return Err(SnapshotFault::of_qemu(SnapshotSort::Unsupported, text));
        }
        Ok(Plan { external, manual })
    }

    /// Whether the name can be a file's.
    pub fn check_name(&self) -> Result<(), SnapshotFault> {
        let name = self.name();
        let refuse = |why: &str| {
            let text = format!("invalid snapshot name '{name}': {why}");
            Err(SnapshotFault::of_qemu(SnapshotSort::XmlDetail, text))
        };
        if name.contains('/') {
            return refuse("name can't contain '/'");
        }
        if name.starts_with('.') {
            return refuse("name can't start with '.'");
        }
        // libvirt leaves these to the file system; here they are no file's name either.
        if name.len() > crate::NAME_MAX_BYTES {
            return refuse(&format!("name is longer than {} bytes", crate::NAME_MAX_BYTES));
        }
        if name.chars().any(char::is_control) {
            return refuse("name can't contain control characters");
        }
        Ok(())
    }

    /// What a redefinition may not change of the snapshot that is there.
    pub fn check_redefinition(
        &self,
        domain: crate::DomainId,
        old: Option<&Self>,
        disk_only: bool,
    ) -> Result<(), SnapshotFault> {
        let refuse = |text: String| Err(SnapshotFault::new(SnapshotSort::InvalidArg, text));
        let name = self.name();
        let is_disk_only = |snapshot: &Self| snapshot.state() == SnapshotState::DiskSnapshot;
        if disk_only && !is_disk_only(self) {
            return refuse(format!("disk-only flag for snapshot {name} requires disk-snapshot state"));
        }
        if self.domain.as_deref().and_then(|own| own.uuid).is_some_and(|uuid| uuid != domain) {
            return refuse(format!("definition for snapshot {name} must use uuid {domain}"));
        }
        let Some(old) = old else { return Ok(()) };
        if old.state().is_online() != self.state().is_online() {
            return refuse(format!(
                "cannot change between online and offline snapshot state in snapshot {name}"
            ));
        }
        if is_disk_only(old) != is_disk_only(self) {
            return refuse(format!("cannot change between disk only and full system in snapshot {name}"));
        }
        Ok(())
    }
}

fn check_disk(disk: &mut super::SnapshotDisk) -> Result<(), SnapshotFault> {
    if disk.name.is_none() {
        return Err(SnapshotFault::new(SnapshotSort::Internal, "missing name from disk snapshot element"));
    }
    if let Some(kind @ (SourceKind::Volume | SourceKind::Dir)) = disk.kind {
        let text = format!("unsupported disk snapshot type '{kind}'");
        return Err(SnapshotFault::new(SnapshotSort::Xml, text));
    }
    if let Some(format) = disk.format()
        && !KNOWN_FORMATS.contains(&format)
    {
        let text = format!("unknown disk snapshot driver '{format}'");
        return Err(SnapshotFault::new(SnapshotSort::ConfigUnsupported, text));
    }
    if let Some(path) = disk.path().filter(|path| !path.starts_with('/')) {
        let text = format!("disk snapshot image path '{path}' must be absolute");
        return Err(SnapshotFault::new(SnapshotSort::Xml, text));
    }
    if disk.snapshot.is_none() && (disk.path().is_some() || disk.format().is_some()) {
        disk.snapshot = Some(Location::External);
    }
    Ok(())
}

/// virStorageFileFormat's words.
const KNOWN_FORMATS: [&str; 17] = [
    "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow",
    "qcow2", "qed", "vmdk", "luks",
];

fn check_internal(
    snapshot: &DomainSnapshot,
    name: &str,
    own: &crate::domain::disk::Disk,
    state: State,
) -> Result<(), SnapshotFault> {
    let refuse = |sort, text: String| Err(SnapshotFault::of_qemu(sort, text));
    if snapshot.state() == SnapshotState::DiskSnapshot && state.is_active() {
        return refuse(
            SnapshotSort::ConfigUnsupported,
            format!("active qemu domains require external disk snapshots; disk {name} requested internal"),
        );
    }
    if !state.is_active() && !matches!(own.kind, SourceKind::File | SourceKind::Block | SourceKind::Volume) {
        return refuse(
            SnapshotSort::Internal,
            format!("internal inactive snapshots are not supported on '{}' disks", own.kind),
        );
    }
    if own.format() != "qcow2" {
        return refuse(
            SnapshotSort::ConfigUnsupported,
            format!("internal snapshot for disk {name} unsupported for storage type {}", own.format()),
        );
    }
    Ok(())
}

fn check_external(
    disk: &super::SnapshotDisk,
    own: &crate::domain::disk::Disk,
    state: State,
) -> Result<(), SnapshotFault> {
    let name = disk.name();
    let refuse = |sort, text: String| Err(SnapshotFault::of_qemu(sort, text));
    match disk.format() {
        None | Some("qcow2") => {}
        Some("qed") => {
            return refuse(
                SnapshotSort::ConfigUnsupported,
                format!("external snapshot format for disk {name} is unsupported: qed; use qcow2"),
            );
        }
        Some(format) => {
            return refuse(
                SnapshotSort::ConfigUnsupported,
                format!("external snapshot format for disk {name} is unsupported: {format}"),
            );
        }
    }
    let kind = disk.kind.unwrap_or(SourceKind::File);
    let how = if state.is_active() { "active" } else { "inactive" };
    for kind in [kind, own.kind] {
        if !matches!(kind, SourceKind::File | SourceKind::Block | SourceKind::Volume) {
            return refuse(
                SnapshotSort::Internal,
                format!("external {how} snapshots are not supported on '{kind}' disks"),
            );
        }
    }
    if own.shareable && !own.readonly {
        return refuse(
            SnapshotSort::ConfigUnsupported,
            format!("shared access for disk '{}' requires use of supported storage format", own.target.dev),
        );
    }
    Ok(())
}

/// UEFI whose variables QEMU cannot snapshot.
fn has_raw_variables(domain: &Domain) -> bool {
    let pflash = domain.os.loader.as_deref().is_some_and(|loader| loader.kind == Some(LoaderKind::Pflash));
    let format = domain.os.nvram.as_deref().map(|nvram| nvram.format.unwrap_or_default());
    pflash && format.is_some_and(|format| format != FirmwareFormat::Qcow2)
}
