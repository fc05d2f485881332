//! The UUIDs of disks, partitions, file systems, swap and LVM, and all that refers to them.
//!
//! A UUID is changed only where that is safe: everything that refers to the old one was seen and can be put right
//! ([`references`]), and nothing is known to have a copy of it that cannot be reached ([`holds`]): an initramfs made
//! for one machine whose form is not known ([`initramfs`]), a boot loader with the UUID built in, a kernel image with its command line. Where it is not safe
//! the item is kept, with the reason; [`super::DeviceUuids::All`] insists.

mod holds;
mod initramfs;
mod references;
mod seed;

use std::collections::BTreeSet;

pub(crate) use initramfs::IMAGES;
pub use initramfs::verify_archives;
use lodge_model::guest_disk::{Device, DeviceEdit, DeviceKind, PartitionTable};
pub(crate) use references::{NAMES, PROGRAMS, REFERENCES};

use super::{DeviceUuids, Fresh, Identity, Item, Kind, Wish, draft::Draft, seen::Seen};

/// What has a UUID: where it is read, and the edit that changes it.
struct Target<'a> {
    kind: Kind,
    place: String,
    device: &'a Device,
    old: String,
    operation: &'static str,
}

/// Everything on the disks that has an identity, each once.
fn targets<'a>(seen: &Seen<'a>) -> Vec<Target<'a>> {
    let mut all = Vec::new();
    let mut names = BTreeSet::new();
    let mut groups = BTreeSet::new();
    for device in seen.layout.devices() {
        if !names.insert(device.name.as_str()) {
            continue;
        }
        let mut add = |kind: Kind, place: String, old: String, operation| {
            if !old.is_empty() {
                all.push(Target { kind, place, device, old, operation });
            }
        };
        match &device.table {
            Some(PartitionTable::Gpt(guid)) => {
                add(Kind::DISK_ID, device.name.clone(), guid.to_string(), "disk-ids");
            }
            Some(PartitionTable::Dos(signature)) if *signature != 0 => {
                add(Kind::DISK_ID, device.name.clone(), format!("{signature:08x}"), "disk-ids");
            }
            Some(PartitionTable::Dos(_)) | None => {}
        }
        if let Some(partition) = &device.partition {
            add(Kind::PARTITION_ID, device.name.clone(), partition.uuid.clone(), "disk-ids");
        }
        if let Some(uuid) = &device.volume {
            add(Kind::VOLUME_UUID, device.name.clone(), uuid.clone(), "lvm-uuids");
        }
        let Some(content) = &device.content else { continue };
        let operation = if content.kind == "LVM2_member" { "lvm-uuids" } else { "fs-uuids" };
        if let Some(uuid) = &content.uuid {
            add(Kind::CONTENT_UUID, device.name.clone(), uuid.clone(), operation);
        }
        if content.kind == "LVM2_member"
            && let Some((name, uuid)) = &content.group
            && groups.insert(name.clone())
        {
            add(Kind::GROUP_UUID, format!("volume group {name}"), uuid.clone(), "lvm-uuids");
        }
    }
    all
}

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    for target in targets(seen) {
        let mut item = Item::present(target.kind.clone(), target.place.clone(), target.old.clone());
        if target.kind == Kind::CONTENT_UUID
            && let Some(content) = &target.device.content
        {
            item = item.noting(content.kind.clone());
        }
        found.push(item);
    }
    for gap in seen.files.gaps.iter().filter(|gap| !gap.place.starts_with('/')) {
        let item = Item::absent(Kind::CONTENT_UUID, gap.place.clone(), super::State::Unknown);
        if seen.layout.device(&gap.place).is_none_or(|device| device.content.is_none()) {
            found.push(item.noting(gap.why.clone()));
        }
    }
}

pub(crate) fn plan(seen: &Seen<'_>, before: &Identity, wish: &Wish, draft: &mut Draft<'_>) {
    let targets: Vec<Target<'_>> = targets(seen);
    let may_seed = seed::is_known(seen);
    let mut changed = Vec::new();
    for target in &targets {
        let Some(item) = before.at(&target.kind, &target.place) else { continue };
        if wish.device_uuids == DeviceUuids::Keep {
            draft.keep(item, "devices' UUIDs are to be kept");
            continue;
        }
        if !wish.does(target.operation) {
            continue;
        }
        let Some((new, edit)) = change_of(target, may_seed, &wish.fresh) else {
            // A DOS partition has no id of its own: it follows its disk's.
            if !follows_disk(target) {
                draft.keep(item, impossible(target));
            }
            continue;
        };
        let olds = renamed(seen, target, &new);
        let holders: Vec<String> = olds
            .iter()
            .flat_map(|(old, _)| {
                let mut why = references::unrepairable(seen, old, draft);
                why.extend(initramfs::unrepairable(seen, old));
                why.extend(holds::reasons(seen, target.device, &target.kind, old, draft));
                why
            })
            .collect();
        if let Some(why) = holders.first() {
            if wish.device_uuids != DeviceUuids::All || holds::is_fatal(&target.kind, target.device) {
                draft.keep(item, why.clone());
                continue;
            }
            draft.flag(&target.kind, target.place.clone(), format!("changed all the same: {why}"));
        }
        for (old, new) in &olds {
            references::repair(old, new, draft);
        }
        holds::tell_initramfs(seen, target.device, &target.kind, &new, draft);
        draft.device(edit);
        let reason = "two disks with one id are taken for one";
        draft.change(&target.kind, target.place.clone(), Some(&target.old), Some(&new), reason);
        note_followers(seen, target, &olds, draft);
        changed.extend(olds);
    }
    initramfs::repair(seen, &changed, draft);
}

/// The new id in the form of the old, and how it gets there.
fn change_of(target: &Target<'_>, may_seed: bool, fresh: &Fresh) -> Option<(String, DeviceEdit)> {
    let device = target.device.name.clone();
    let purpose = format!("device {} {} {}", target.kind, target.place, target.old);
    let uuid = fresh.uuid(&purpose).to_string();
    if target.kind == Kind::DISK_ID {
        let new = match target.device.table {
            Some(PartitionTable::Dos(_)) => signature(fresh, &purpose),
            Some(PartitionTable::Gpt(_)) | None => uuid,
        };
        return Some((new.clone(), DeviceEdit::Table { device, uuid: new }));
    }
    if target.kind == Kind::PARTITION_ID {
        return (!follows_disk(target)).then(|| (uuid.clone(), DeviceEdit::Partition { device, uuid }));
    }
    if target.kind == Kind::VOLUME_UUID {
        let new = lvm_uuid(fresh, &purpose);
        return Some((new.clone(), DeviceEdit::Volume { device, uuid: new }));
    }
    let content = target.device.content.as_ref()?;
    if target.kind == Kind::GROUP_UUID {
        let (group, _) = content.group.clone()?;
        let new = lvm_uuid(fresh, &purpose);
        return Some((new.clone(), DeviceEdit::Group { group, uuid: new }));
    }
    let new = match content.kind.as_str() {
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "swap" => uuid,
        "vfat" => {
            let digits = fresh.hex(&purpose, 8).to_uppercase();
            format!("{}-{}", &digits[..4], &digits[4..])
        }
        "LVM2_member" => lvm_uuid(fresh, &purpose),
        _ => return None,
    };
    let may_seed = may_seed && content.kind == "ext4";
    Some((new.clone(), DeviceEdit::Content { device, uuid: new, may_seed }))
}

fn signature(fresh: &Fresh, purpose: &str) -> String {
    // 0 is none.
    let number = u32::from_le_bytes(fresh.bytes(purpose)).max(1);
    format!("{number:08x}")
}

/// LVM's own form: 32 letters and digits in groups of 6-4-4-4-4-4-6.
fn lvm_uuid(fresh: &Fresh, purpose: &str) -> String {
    const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let bytes: [u8; 32] = fresh.bytes(purpose);
    let mut text = String::with_capacity(38);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
    }
    text
}

fn follows_disk(target: &Target<'_>) -> bool {
    target.kind == Kind::PARTITION_ID && target.old.len() != 36
}

fn impossible(target: &Target<'_>) -> String {
    match target.device.content.as_ref().map(|content| content.kind.as_str()) {
        Some("crypto_LUKS") => "an encrypted volume is found by its UUID while it is still locked".to_owned(),
        Some("linux_raid_member") => "an array's members know each other by it".to_owned(),
        Some(kind) => format!("there is no way to change the UUID of `{kind}`"),
        None => "there is no way to change it".to_owned(),
    }
}

/// All ids that change with a target: a DOS disk's signature is the first part of its partitions'.
fn renamed(seen: &Seen<'_>, target: &Target<'_>, new: &str) -> Vec<(String, String)> {
    let mut all = vec![(target.old.clone(), new.to_owned())];
    if let Some(PartitionTable::Dos(_)) = target.device.table.filter(|_| target.kind == Kind::DISK_ID) {
        all.clear();
        for part in partitions(seen, target.device) {
            let Some(partition) = &part.partition else { continue };
            all.push((partition.uuid.clone(), format!("{new}-{:02x}", partition.number)));
        }
    }
    all
}

fn partitions<'a>(seen: &Seen<'a>, disk: &Device) -> Vec<&'a Device> {
    let disks = seen.layout.disks.iter().filter(|other| other.name == disk.name);
    disks.flat_map(|disk| &disk.children).filter(|child| child.kind == DeviceKind::Partition).collect()
}

/// The partitions' ids that changed with their disk's.
fn note_followers(seen: &Seen<'_>, target: &Target<'_>, olds: &[(String, String)], draft: &mut Draft<'_>) {
    if target.kind != Kind::DISK_ID {
        return;
    }
    for part in partitions(seen, target.device) {
        let own = part.partition.as_ref().and_then(|own| olds.iter().find(|(old, _)| *old == own.uuid));
        if let Some((old, new)) = own.filter(|(old, _)| old.len() != 36) {
            let reason = "a DOS partition is named after its disk";
            draft.change(&Kind::PARTITION_ID, part.name.clone(), Some(old), Some(new), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lvm_uuid_has_lvms_form() {
        let uuid = lvm_uuid(&Fresh::new([3; 32]), "x");
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [6, 4, 4, 4, 4, 4, 6]);
    }
}
