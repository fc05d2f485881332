//! `device='lun'`: a SCSI device whose commands the guest sends itself, by QEMU's `scsi-block`. With `rawio='yes'` QEMU
//! may pass all of them on, without it those that the kernel lets anybody send.

use lodge_model::domain::disk::{Disk, DiskBus};
use lodge_model::xml::YesNo;

use super::alias::disk_bus;
use super::builder::Builder;
use crate::claims::{Link, LinkBytes};

/// Whether a `lun` is there to be handed through: its commands go to a device, of the host's or of an iSCSI server's.
pub(super) fn is_scsi(b: &mut Builder<'_>, disk: &Disk, links: &[Link]) -> bool {
    let is_handed = |link: &Link| match &link.bytes {
        LinkBytes::Device(_) => true,
        LinkBytes::File(_) | LinkBytes::Namespace { .. } => false,
        LinkBytes::Served(served) => served.source.protocol.as_deref() == Some("iscsi"),
    };
    if disk_bus(disk) != DiskBus::Scsi {
        let text = format!("disk device='lun' is not supported for bus='{}'", disk_bus(disk));
        b.refuse_hinted(text, "use bus='scsi'");
        return false;
    }
    if disk.raw_io == Some(YesNo::Yes) {
        b.pass_raw_commands();
    }
    if !links.iter().all(is_handed) {
        let text = "disk device='lun' is only valid for block type disk source";
        b.refuse_hinted(text, "use device='disk' for a file");
        return false;
    }
    if disk.serial.is_some() {
        b.refuse("scsi-block 'lun' devices do not support the serial property");
        return false;
    }
    true
}
