//! What has a copy of a device's UUID that cannot be reached by changing a text.

use lodge_model::guest_disk::{Device, FileNode, FilePath, Pattern};

use super::{
    initramfs,
    references::{self, NAMES, PROGRAMS},
};
use crate::{
    Kind,
    draft::Draft,
    seen::Seen,
    text::{self, Line, Separator},
};

/// The type of an EFI system partition.
const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

const IN_CORE_IMAGE: &str = "GRUB's core image finds /boot by this UUID";

const DRACUT: &[&str] =
    &["/etc/dracut.conf", "/etc/dracut.conf.d/*.conf", "/usr/lib/dracut/dracut.conf.d/*.conf"];
const COMMAND_LINES: &[&str] = &[
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/loader/entries/*.conf",
    "/boot/efi/loader/entries/*.conf",
    "/efi/loader/entries/*.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
];

/// Whether a wrong id means that nothing boots at all, so that nobody may insist.
pub(super) fn is_fatal(kind: &Kind, device: &Device) -> bool {
    let is_locked = device.content.as_ref().is_some_and(|content| content.kind == "crypto_LUKS");
    *kind == Kind::CONTENT_UUID && is_locked
}

/// Why the id must stay.
pub(super) fn reasons(
    seen: &Seen<'_>,
    device: &Device,
    kind: &Kind,
    old: &str,
    draft: &Draft<'_>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if *kind == Kind::DISK_ID && old.len() == 36 {
        // Nothing names a GPT's disk by its GUID.
        return reasons;
    }
    reasons.extend(dracut(seen, device, kind));
    reasons.extend(kernel_images(seen, device, kind));
    reasons.extend(programs(seen, old));
    if *kind == Kind::GROUP_UUID {
        reasons.extend(grub_on_lvm(seen, device));
    }
    if *kind == Kind::VOLUME_UUID && device.mount_point.as_deref() == Some(place_of_boot(seen)) {
        reasons.push(IN_CORE_IMAGE.to_owned());
    }
    if *kind == Kind::PARTITION_ID && is_esp(device) && !has_fallback(seen, draft) {
        reasons.push(
            "the firmware's boot entry names this partition, and there is no loader in /EFI/BOOT to fall back to"
                .to_owned(),
        );
    }
    reasons
}

/// dracut makes an initramfs for one machine: it waits for its root, its /usr and its swap by their UUIDs. What is known to
/// its end is put right.
fn dracut(seen: &Seen<'_>, device: &Device, kind: &Kind) -> Option<String> {
    let is_early = match device.mount_point.as_deref() {
        Some("/" | "/usr" | "/etc" | "/var") => true,
        Some(_) => false,
        None => device.content.as_ref().is_some_and(|content| content.kind == "swap"),
    };
    if !initramfs::has_dracut(seen) || !is_early || *kind != Kind::CONTENT_UUID {
        return None;
    }
    let unknown = initramfs::unknown(seen)?;
    let mut is_host_only = true;
    for path in seen.matching_any(DRACUT).into_keys() {
        let Some(text) = path.as_str().and_then(|path| seen.text(path)) else { continue };
        if let Some(value) = text::shell_value(&text, "hostonly") {
            is_host_only = value != "no";
        }
    }
    is_host_only.then(|| {
        format!(
            "dracut's initramfs was made for this machine alone and may wait for this UUID ({unknown}); \
             build it anew with `hostonly=no` to have it changed"
        )
    })
}

/// A kernel image with its command line inside cannot be written anew here.
fn kernel_images(seen: &Seen<'_>, device: &Device, kind: &Kind) -> Option<String> {
    let is_named = *kind == Kind::CONTENT_UUID || *kind == Kind::PARTITION_ID;
    let is_early = matches!(device.mount_point.as_deref(), Some("/" | "/usr"))
        || device.content.as_ref().is_some_and(|content| content.kind == "swap");
    let images = seen.matching_any(&NAMES[..3]);
    let image = images.keys().next().filter(|_| is_named && is_early)?;
    Some(format!("the kernel image {image} may have it on its command line"))
}

/// GRUB's programs may search for a UUID that was built into them.
fn programs(seen: &Seen<'_>, old: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    for pattern in PROGRAMS.iter().filter_map(|(text, _)| Pattern::new(text).ok()) {
        for (path, node) in seen.matching(&pattern) {
            let FileNode::File { bytes, size, .. } = node else { continue };
            if references::has_bytes(seen, path, old) {
                reasons.push(format!("the boot loader's program {path} has it built in"));
            } else if (bytes.len() as u64) < *size && !bytes.is_empty() {
                reasons.push(format!("the boot loader's program {path} is too long to be looked through"));
            }
        }
    }
    reasons
}

/// GRUB for a BIOS finds `/boot` on LVM by the UUIDs of group and volume, which are in its core image.
fn grub_on_lvm(seen: &Seen<'_>, device: &Device) -> Option<String> {
    let group = device.content.as_ref().and_then(|content| content.group.as_ref()).map(|(name, _)| name)?;
    let boots = |mount: &str| {
        seen.layout.devices().into_iter().any(|volume| {
            volume.mount_point.as_deref() == Some(mount)
                && seen.layout.devices().into_iter().any(|holder| {
                    holder
                        .content
                        .as_ref()
                        .and_then(|content| content.group.as_ref())
                        .is_some_and(|(name, _)| name == group)
                        && holder.children.iter().any(|child| child.name == volume.name)
                })
        })
    };
    boots(place_of_boot(seen)).then(|| IN_CORE_IMAGE.to_owned())
}

/// Where what is mounted has the boot loader's files.
fn place_of_boot(seen: &Seen<'_>) -> &'static str {
    let has_boot = seen.layout.devices().iter().any(|device| device.mount_point.as_deref() == Some("/boot"));
    if has_boot { "/boot" } else { "/" }
}

fn is_esp(device: &Device) -> bool {
    device.partition.as_ref().is_some_and(|partition| partition.kind.eq_ignore_ascii_case(ESP))
}

fn has_fallback(seen: &Seen<'_>, draft: &Draft<'_>) -> bool {
    seen.matching_any(&NAMES[3..8]).keys().any(|path| draft.has(path))
}

/// Debian's initramfs has a copy of the swap's UUID to resume from, and waits for it half a minute. What the command
/// line says comes first, so it is said there.
pub(super) fn tell_initramfs(
    seen: &Seen<'_>,
    device: &Device,
    kind: &Kind,
    new: &str,
    draft: &mut Draft<'_>,
) {
    let is_swap = device.content.as_ref().is_some_and(|content| content.kind == "swap");
    let has_tools =
        ["/usr/sbin/mkinitramfs", "/usr/bin/mkinitramfs"].iter().any(|path| seen.files.node(path).is_some());
    if *kind != Kind::CONTENT_UUID || !is_swap || !has_tools {
        return;
    }
    for path in &draft.matching_any(COMMAND_LINES) {
        let Ok(whole) = draft.text(path) else { continue };
        let changed = text::map_lines(&whole, |line| with_resume(line, new).map_or(Line::Keep, Line::Set));
        if changed != whole {
            draft.set_text(path, changed);
        }
    }
    let Ok(defaults) = FilePath::new("/etc/default/grub") else { return };
    let Ok(whole) = draft.text(&defaults) else { return };
    let changed = text::map_lines(&whole, |line| {
        let key = "GRUB_CMDLINE_LINUX";
        let Some(value) = text::line_value(line, key, Separator::Equals).map(text::unquote) else {
            return Line::Keep;
        };
        if says_resume(value) {
            return Line::Keep;
        }
        let value = format!("{value} resume=UUID={new}");
        let quoted = format!("{key}=\"{}\"", value.trim());
        Line::Set(quoted)
    });
    draft.set_text(&defaults, changed);
}

fn says_resume(line: &str) -> bool {
    line.split([' ', '\t', '"']).any(|word| word.starts_with("resume=") || word == "noresume")
}

/// A kernel's command line with the swap to resume from. None: it is none, or it says something of it.
fn with_resume(line: &str, new: &str) -> Option<String> {
    let word = line.split_whitespace().next()?;
    let is_command = matches!(word, "options" | "append" | "APPEND")
        || (matches!(word, "linux" | "linux16" | "linuxefi") && line.contains(" root="));
    (is_command && !says_resume(line)).then(|| format!("{} resume=UUID={new}", line.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_once_where_to_resume_from() {
        let line = "\tlinux\t/vmlinuz root=UUID=x ro quiet";
        let with = with_resume(line, "new").unwrap();
        assert_eq!(with, "\tlinux\t/vmlinuz root=UUID=x ro quiet resume=UUID=new");
        assert_eq!(with_resume(&with, "other"), None);
        assert_eq!(with_resume("linux /vmlinuz", "new"), None, "an entry's kernel is no command line");
        assert_eq!(with_resume("options root=/dev/vda1 noresume", "new"), None);
    }
}
