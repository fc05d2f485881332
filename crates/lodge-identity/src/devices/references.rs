//! Where a guest refers to a device by its UUID, and how that is put right.
//!
//! A UUID is long and stands alone, so it is replaced as a word, whatever the file's own grammar: `UUID=…`,
//! `/dev/disk/by-uuid/…`, `search --fs-uuid …`, `options root=PARTUUID=…`. LVM also writes its own without dashes, and those
//! of a group and its volume in one word (`/dev/disk/by-id/dm-uuid-LVM-…`).

use lodge_model::guest_disk::{FileNode, FilePath, Pattern};

use crate::{
    draft::{Draft, NoText},
    seen::Seen,
    text,
};

/// Texts that may name a device.
pub(crate) const REFERENCES: &[&str] = &[
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/crypttab.initramfs",
    "/etc/mdadm.conf",
    "/etc/mdadm/mdadm.conf",
    "/etc/default/grub",
    "/etc/default/grub.d/*",
    "/etc/grub.d/*_custom",
    "/etc/sysconfig/grub",
    "/etc/sysconfig/bootloader",
    "/boot/grub/grub.cfg",
    "/boot/grub/custom.cfg",
    "/boot/grub/grubenv",
    "/boot/grub/device.map",
    "/boot/grub/menu.lst",
    "/boot/grub2/grub.cfg",
    "/boot/grub2/custom.cfg",
    "/boot/grub2/grubenv",
    "/boot/grub2/device.map",
    "/boot/efi/EFI/*/grub.cfg",
    "/boot/efi/EFI/*/grubenv",
    "/efi/EFI/*/grub.cfg",
    "/boot/EFI/*/grub.cfg",
    "/boot/loader/entries/*.conf",
    "/boot/efi/loader/entries/*.conf",
    "/efi/loader/entries/*.conf",
    "/boot/loader/loader.conf",
    "/boot/efi/loader/loader.conf",
    "/efi/loader/loader.conf",
    "/etc/kernel/cmdline",
    "/etc/kernel/install.conf",
    "/etc/cmdline.d/*",
    "/usr/lib/kernel/cmdline",
    "/boot/cmdline.txt",
    "/boot/firmware/cmdline.txt",
    "/boot/refind_linux.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/boot/efi/syslinux.cfg",
    "/etc/update-extlinux.conf",
    "/etc/zipl.conf",
    "/etc/initramfs-tools/initramfs.conf",
    "/etc/initramfs-tools/conf.d/*",
    "/etc/dracut.conf",
    "/etc/dracut.conf.d/*",
    "/usr/lib/dracut/dracut.conf.d/*",
    "/etc/mkinitcpio.conf",
    "/etc/mkinitcpio.conf.d/*",
    "/etc/mkinitfs/mkinitfs.conf",
    "/etc/lvm/devices/system.devices",
    "/etc/lvm/backup/*",
    "/etc/lvm/lvm.conf",
    "/etc/lvm/lvmlocal.conf",
    "/etc/systemd/system/*.mount",
    "/etc/systemd/system/*.swap",
    "/etc/systemd/system/*.automount",
    "/etc/multipath/wwids",
    "/etc/uswsusp.conf",
    "/etc/suspend.conf",
];

/// Of these only the presence counts.
pub(crate) const NAMES: &[&str] = &[
    "/boot/efi/EFI/Linux/*.efi",
    "/efi/EFI/Linux/*.efi",
    "/boot/EFI/Linux/*.efi",
    "/boot/efi/EFI/BOOT/BOOT*.EFI",
    "/boot/efi/EFI/BOOT/boot*.efi",
    "/boot/efi/EFI/Boot/*",
    "/efi/EFI/BOOT/BOOT*.EFI",
    "/boot/EFI/BOOT/BOOT*.EFI",
    "/boot/initrd.img*",
    "/boot/initramfs*",
    KERNEL_IMAGES,
];
/// Kernels, whose names have their version.
pub(super) const KERNEL_IMAGES: &str = "/boot/vmlinuz-*";

/// Boot loaders' programs and what was built into them, with the most bytes of each.
pub(crate) const PROGRAMS: &[(&str, u64)] = &[
    ("/boot/grub/*/load.cfg", 64 * 1024),
    ("/boot/grub2/*/load.cfg", 64 * 1024),
    ("/boot/grub/*/ext2.mod", 64 * 1024),
    ("/boot/grub2/*/ext2.mod", 64 * 1024),
    ("/boot/efi/EFI/*/grub*.efi", 8 << 20),
    ("/efi/EFI/*/grub*.efi", 8 << 20),
    ("/boot/EFI/*/grub*.efi", 8 << 20),
    ("/boot/efi/EFI/BOOT/BOOT*.EFI", 8 << 20),
];

/// The forms in which an id may be written. Letters' case is not looked at.
fn forms(uuid: &str) -> Vec<String> {
    let mut forms = vec![uuid.to_owned()];
    // Short ids without dashes are any number.
    if uuid.len() >= 36 {
        forms.push(uuid.replace('-', ""));
    }
    forms
}

/// Files that name `old` and cannot be put right, or that nobody could read: a reason each.
pub(super) fn unrepairable(seen: &Seen<'_>, old: &str, draft: &Draft<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    for path in seen.matching_any(REFERENCES).into_keys() {
        match draft.text(path) {
            Ok(_) | Err(NoText::Missing | NoText::NotAFile) => {}
            Err(fault) => {
                if has_bytes(seen, path, old) || fault == NoText::Cut {
                    reasons.push(format!("{path} may refer to it, and {fault}"));
                }
            }
        }
    }
    for pattern in REFERENCES.iter().filter_map(|text| Pattern::new(text).ok()) {
        if let Some(why) = seen.blind_for(&pattern) {
            reasons.push(format!("{pattern} may refer to it, and could not be read: {why}"));
            break;
        }
    }
    reasons
}

/// Whether a file's bytes have the id somewhere.
pub(super) fn has_bytes(seen: &Seen<'_>, path: &FilePath, old: &str) -> bool {
    let Some(FileNode::File { bytes, .. }) = seen.files.nodes.get(path) else { return false };
    forms(old).iter().any(|form| {
        let (lower, upper) = (form.to_lowercase(), form.to_uppercase());
        [form.as_str(), &lower, &upper].iter().any(|form| contains(bytes, form.as_bytes()))
    })
}

/// Whether `part` is in `whole`; quick for programs of megabytes.
pub(super) fn contains(whole: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let mut at = 0;
    while let Some(step) = whole[at..].iter().position(|byte| byte == first) {
        at += step + 1;
        if whole[at..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// Replaces the id everywhere.
pub(super) fn repair(old: &str, new: &str, draft: &mut Draft<'_>) {
    // 6-4-4-4-4-4-6; others have five groups.
    let is_of_lvm = old.split('-').count() == 7;
    for path in &draft.matching_any(REFERENCES) {
        let Ok(text) = draft.text(path) else { continue };
        let changed = forms(old).iter().zip(forms(new)).fold(text.clone(), |text, (old, new)| {
            // LVM's own without dashes is 32 letters of two sorts: by chance that stands in no other word.
            let is_bare = old.len() == 32 && is_of_lvm;
            let is_inner = |letter| !is_bare && text::is_id_char(letter);
            text::replace_word(&text, old, &new, is_inner)
        });
        if changed != text {
            draft.set_text(path, changed);
        }
    }
}
