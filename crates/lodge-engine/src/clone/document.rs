//! What documents say that decides how a machine is copied. Pure.

use lodge_model::domain::{
    Domain,
    disk::{Disk, DiskDevice, SourceKind},
    os::{Firmware, LoaderKind},
};
use lodge_model::xml::YesNo;

/// Whether the guest keeps UEFI variables.
pub(crate) fn has_variables(document: &Domain) -> bool {
    let os = &document.os;
    let pflash = os.loader.as_deref().is_some_and(|loader| {
        loader.kind == Some(LoaderKind::Pflash) && loader.stateless != Some(YesNo::Yes)
    });
    pflash || os.firmware == Some(Firmware::Efi)
}

/// What becomes of a disk in a copy of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The copy gets a disk of its own.
    Own,
    /// Both have it: it is not written, or meant to be shared.
    Shared,
    /// It cannot be copied; why.
    Refused(&'static str),
}

/// Judges a disk.
pub(crate) fn fate(disk: &Disk) -> Fate {
    let is_empty = disk.source.is_none();
    if is_empty || disk.readonly || disk.shareable || disk.device == DiskDevice::Cdrom {
        return Fate::Shared;
    }
    own(disk)
}

/// The same of one that is to be copied, whatever it is.
pub(crate) fn own(disk: &Disk) -> Fate {
    match disk.kind {
        SourceKind::File | SourceKind::Volume => Fate::Own,
        SourceKind::Block => Fate::Refused("is a block device of the host's"),
        SourceKind::Network => Fate::Refused("lies on another host"),
        SourceKind::Dir => Fate::Refused("is a directory of the host's"),
        SourceKind::Nvme | SourceKind::VhostUser | SourceKind::VhostVdpa => {
            Fate::Refused("is a device of the host's")
        }
    }
}
