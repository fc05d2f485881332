//! File systems: what each way of serving one can do. The words are libvirt's.

use super::{Found, Seen, nth};
use crate::domain::Domain;
use crate::domain::cpu::NumaCell;
use crate::domain::filesystem::{AccessMode, Filesystem, FilesystemDriverKind, FilesystemKind, WritePolicy};
use crate::domain::memory::MemoryAccessMode;
use crate::xml::ForeignItem;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let filesystems = &domain.devices.filesystems;
    let mut names = Seen::default();
    for (at, filesystem) in filesystems.iter().enumerate() {
        let path = nth("/domain/devices/filesystem", at, filesystems.len());
        ends(filesystem, &path, found);
        what_qemu_has(filesystem, &path, found);
        match filesystem.served_by() {
            FilesystemDriverKind::Virtiofs => {
                virtiofs(filesystem, &path, found);
                if !is_shared(domain) {
                    found.add(&path, "'virtiofs' requires shared memory");
                }
                if let Some(tag) = filesystem.tag() {
                    names.note(found, tag.to_owned(), &format!("{path}/target/@dir"), || {
                        format!("filesystem target '{tag}' specified twice")
                    });
                }
            }
            FilesystemDriverKind::Loop | FilesystemDriverKind::Nbd | FilesystemDriverKind::Ploop => {
                found.add(format!("{path}/driver/@type"), "Filesystem driver type not supported");
            }
            FilesystemDriverKind::Handle if !passes_through(filesystem) => {
                found.add(format!("{path}/@accessmode"), "only supports passthrough accessmode");
            }
            FilesystemDriverKind::Mtp if !passes_through(filesystem) => {
                found.add(format!("{path}/@accessmode"), "mtp only supports passthrough accessmode");
            }
            FilesystemDriverKind::Default
            | FilesystemDriverKind::Path
            | FilesystemDriverKind::Handle
            | FilesystemDriverKind::Mtp => {}
        }
    }
}

fn passes_through(filesystem: &Filesystem) -> bool {
    filesystem.access_mode.is_none_or(|mode| mode == AccessMode::Passthrough)
}

/// Both ends must be named.
fn ends(filesystem: &Filesystem, path: &str, found: &mut Found) {
    let (source, tag) = (filesystem.directory().or(filesystem.socket()), filesystem.tag());
    if filesystem.kind == FilesystemKind::Mount && source.is_none() {
        found.add(path, format!("missing source information for device {}", tag.unwrap_or_default()));
    }
    if tag.is_none() {
        found.add(path, format!("missing target information for device {}", source.unwrap_or_default()));
    }
}

fn what_qemu_has(filesystem: &Filesystem, path: &str, found: &mut Found) {
    if filesystem.kind != FilesystemKind::Mount {
        found.add(format!("{path}/@type"), "only supports mount filesystem type");
    }
    for item in filesystem.foreign.items() {
        if let ForeignItem::Element { name, .. } = item
            && name.starts_with("space_")
        {
            found.add(format!("{path}/{name}"), "filesystem usage limits are not supported with QEMU");
        }
    }
    let modes = [("fmode", filesystem.file_mode), ("dmode", filesystem.directory_mode)];
    if filesystem.access_mode != Some(AccessMode::Mapped) && !filesystem.is_virtiofs() {
        for (name, _) in modes.iter().filter(|(_, mode)| mode.is_some_and(|mode| mode.0 != 0)) {
            found.add(format!("{path}/@{name}"), "fmode and dmode must be used with accessmode=mapped");
        }
    }
    if filesystem.place.boot.is_some() && !filesystem.is_virtiofs() {
        found.add(format!("{path}/boot"), "boot order is only supported for virtiofs");
    }
}

fn virtiofs(filesystem: &Filesystem, path: &str, found: &mut Found) {
    let driver = &filesystem.driver;
    if filesystem.socket().is_none() {
        if !passes_through(filesystem) {
            found.add(format!("{path}/@accessmode"), "virtiofs only supports passthrough accessmode");
        }
        if driver.write_policy.is_some_and(|policy| policy != WritePolicy::Default) {
            found.add(format!("{path}/driver/@wrpolicy"), "virtiofs does not support wrpolicy");
        }
    }
    let extras = [
        ("@model", filesystem.model.is_some(), "virtiofs does not support model"),
        ("driver/@format", driver.format.is_some(), "virtiofs does not support format"),
        ("@multidevs", filesystem.multidevs.is_some(), "virtiofs does not support multidevs"),
        ("@fmode", filesystem.file_mode.is_some(), "virtiofs does not support fmode and dmode"),
        ("@dmode", filesystem.directory_mode.is_some(), "virtiofs does not support fmode and dmode"),
    ];
    for (name, _, message) in extras.into_iter().filter(|(_, is_there, _)| *is_there) {
        found.add(format!("{path}/{name}"), message);
    }
}

/// Whether another process sees all of the guest's memory.
fn is_shared(domain: &Domain) -> bool {
    let access = domain.memory_backing.as_deref().and_then(|backing| backing.access.as_ref());
    let shared = access.is_some_and(|access| access.mode == MemoryAccessMode::Shared);
    let numa = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref());
    let cells: &[NumaCell] = numa.map_or(&[], |numa| &numa.cells);
    let is_cell_shared = |cell: &NumaCell| cell.access.as_deref().map_or(shared, |access| access == "shared");
    if cells.is_empty() { shared } else { cells.iter().all(is_cell_shared) }
}
