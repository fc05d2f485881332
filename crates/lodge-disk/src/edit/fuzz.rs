//! What the fuzzers call of the editor: any bytes as a device that is given another identity, as an ext file system
//! below what the crate reads, and as what the two processes say to each other.

use std::sync::Arc;

use lodge_model::guest_disk::FilePath;
use uuid::Uuid;

use super::{
    device::{
        GptChange, change_gpt, set_btrfs_uuid, set_luks_uuid, set_serial, set_signature, set_swap_uuid,
    },
    error::EditError,
    ext::Ext,
    log, lvm,
    tool::{Act, Said, Tools},
    wire::{Ask, Order, hear},
    worker::Setup,
};
use crate::{
    blocks::Blocks,
    fs::ext::{attributes, names, plain::Plain, volume::Volume},
    view::View,
};

const UUID: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
const LOOKS: usize = 32;

/// No tool is run.
struct None_;

impl Tools for None_ {
    fn run(&mut self, act: Act, _: View) -> Result<Said, EditError> {
        Err(EditError::Missing {
            program: act.program().to_owned(),
            package: act.package().to_owned(),
            place: String::new(),
        })
    }
}

/// Gives a device each identity that it may have.
pub(crate) fn identities(device: &Arc<dyn Blocks>) {
    let _ = (
        change_gpt(&**device, GptChange::Disk(UUID)),
        change_gpt(&**device, GptChange::Partition(1, UUID)),
        set_signature(&**device, 0x1234_5678),
        set_serial(&**device, 0x1234_5678),
        set_swap_uuid(&**device, UUID),
        set_luks_uuid(&**device, UUID),
        set_btrfs_uuid(&**device, UUID),
    );
    let members = [("vda".to_owned(), device.clone())];
    let (old, new) = ("i3ASi9-Zw3h-YXEL-5LyS-u8JF-QnKt-oFfN76", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-000001");
    let _ = (lvm::set_pv(&members, "vda", old, new), lvm::set_in_group(&members, old, new));
}

/// Looks at an ext file system's names, maps and attributes, and gives it another UUID. The answer is how many files
/// were looked at.
pub(crate) fn ext(device: &Arc<dyn Blocks>) -> usize {
    let looks = Volume::open_with(device.clone(), false).map_or(0, |volume| look(&Plain::new(volume)));
    let _ = Ext { device: "vda", blocks: device.clone() }.set_uuid(UUID, false, &mut None_);
    looks
}

fn look(plain: &Plain) -> usize {
    let volume = &plain.volume;
    let (mut looks, mut ahead) = (0, vec![2]);
    while let Some(number) = ahead.pop().filter(|_| looks < LOOKS) {
        looks += 1;
        let Ok(inode) = volume.inode(number) else { continue };
        let _ = (attributes::of(volume, &inode), volume.map(&inode), inode.made());
        let mut found = Vec::new();
        if inode.is_directory().unwrap_or_default() {
            let _ = names::each(volume, &inode, &mut |entry| {
                found.push(entry);
                found.len() < LOOKS
            });
        }
        for entry in &found {
            if let Ok(path) = FilePath::new([b"/", &entry.name[..]].concat()) {
                let _ = (
                    plain.node(&path),
                    plain.list(&path, LOOKS),
                    plain.link(&path),
                    plain.read(&path, 7, 9000),
                );
            }
        }
        ahead.extend(
            found.into_iter().filter(|entry| entry.name != b"." && entry.name != b"..").map(|e| e.inode),
        );
    }
    looks
}

/// Any bytes as what one process says to the other.
pub(crate) fn words(bytes: &[u8]) {
    let _ = (hear::<Order>(bytes), hear::<Ask>(bytes), hear::<Setup>(bytes));
    let _ = hear::<Result<Said, EditError>>(bytes);
}

/// Any bytes as a redo log of a disk.
pub(crate) fn redo_log(bytes: &[u8], disk: &Arc<dyn Blocks>) -> std::io::Result<()> {
    let mut file = std::fs::File::from(rustix::fs::memfd_create("log", rustix::fs::MemfdFlags::CLOEXEC)?);
    std::io::Write::write_all(&mut file, bytes)?;
    let _ = log::read(&file, std::slice::from_ref(disk));
    Ok(())
}
