//! Whether all that reads a guest's ext file systems knows a seed of sums that is a field (`metadata_csum_seed`).
//!
//! With such a field a new UUID changes the superblocks alone; without one, every sum of the file system. A reader that does
//! not know the field reads nothing, so it is given only where it is sure: Linux knows it since 4.4 (and e2fsprogs since
//! before they made such sums by themselves), GRUB's ext2 driver where distributions took a change of 2021 into 2.06. What
//! a GRUB was built with stands in no file, but its driver begins with one instruction that has all features it knows.

use lodge_model::guest_disk::{FileNode, FilePath, Pattern};

use super::references::{self, contains};
use crate::seen::Seen;

/// The driver, and the programs that have it built in.
const DRIVERS: &[&str] = &[
    "/boot/grub/*/ext2.mod",
    "/boot/grub2/*/ext2.mod",
    "/boot/efi/EFI/*/grub*.efi",
    "/efi/EFI/*/grub*.efi",
    "/boot/EFI/*/grub*.efi",
];
/// Any loader, of which some are GRUB.
const FALLBACKS: &[&str] = &["/boot/efi/EFI/BOOT/BOOT*.EFI"];
/// Other boot loaders, of which nobody knows.
const OTHERS: &[&str] = &[
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/etc/zipl.conf",
    "/boot/grub/menu.lst",
];
/// `test eax, ~KNOWN` on x86: what GRUB does with a superblock's incompatible features. With metadata_csum_seed, and with
/// large_dir too; and as it was before either.
const KNOWS: [&[u8]; 2] = [b"\xA9\x29\xDC\xFE\xFF", b"\xA9\x29\x9C\xFE\xFF"];
const KNOWS_NOT: &[u8] = b"\xA9\x29\xFC\xFE\xFF";
const KERNEL: (u32, u32) = (4, 4);

/// Whether it is known to all. False where anything could not be seen.
pub(super) fn is_known(seen: &Seen<'_>) -> bool {
    let kernels = seen.matching_any(&[references::KERNEL_IMAGES]);
    let drivers = seen.matching_any(DRIVERS);
    let has = |path: &&str| FilePath::new(*path).is_ok_and(|path| seen.files.nodes.contains_key(&path));
    let is_blind = |text: &&str| Pattern::new(text).is_ok_and(|pattern| seen.blind_for(&pattern).is_some());
    !kernels.is_empty()
        && !drivers.is_empty()
        && !OTHERS.iter().any(has)
        && !DRIVERS.iter().any(is_blind)
        && kernels.keys().all(|path| is_new(path))
        && drivers.values().all(|driver| knows(driver))
        && !seen.matching_any(FALLBACKS).values().any(|program| knows_not(program))
}

fn knows(driver: &FileNode) -> bool {
    let FileNode::File { bytes, size, .. } = driver else { return false };
    let is_whole = bytes.len() as u64 == *size;
    is_whole && KNOWS.iter().any(|code| contains(bytes, code)) && !contains(bytes, KNOWS_NOT)
}

fn knows_not(program: &FileNode) -> bool {
    matches!(program, FileNode::File { bytes, .. } if contains(bytes, KNOWS_NOT))
}

/// `vmlinuz-6.1.0-18-amd64`
fn is_new(kernel: &FilePath) -> bool {
    let name = std::str::from_utf8(kernel.name()).unwrap_or_default();
    let version = name.split_once('-').map_or("", |(_, version)| version);
    let mut numbers = version.split(['.', '-', '+', '_']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= KERNEL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::guest_disk::{Files, Layout, Owner};

    use super::*;
    use crate::HostFacts;

    const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

    fn is_known_with(files: &[(&str, &[u8])]) -> bool {
        let mut all = Files::default();
        for (path, bytes) in files {
            let node = FileNode::File { bytes: bytes.to_vec(), size: bytes.len() as u64, owner: OWNER };
            all.nodes.insert(FilePath::new(*path).unwrap(), node);
        }
        is_known(&Seen::new(&Layout::default(), &all, &HostFacts::default()))
    }

    #[test]
    fn every_reader_must_know_it() {
        // As Debian 12's begin to judge a superblock.
        let new: &[u8] = b"\xEB\x11\x8B\x43\x60\xA9\x29\x9C\xFE\xFF\x74\x16";
        let old: &[u8] = b"\xEB\x11\x8B\x43\x60\xA9\x29\xFC\xFE\xFF\x74\x16";
        let (none, foreign): (&[u8], &[u8]) = (b"", b"of another processor");
        let (kernel, module) = ("/boot/vmlinuz-6.1.0-18-cloud-amd64", "/boot/grub/i386-pc/ext2.mod");
        let efi = "/boot/efi/EFI/debian/grubx64.efi";
        assert!(is_known_with(&[(kernel, none), (module, new)]));
        assert!(is_known_with(&[(kernel, none), (module, new), (efi, new)]));
        for lacking in [
            &[(module, new)][..],
            &[(kernel, none)],
            &[(kernel, none), (module, old)],
            &[(kernel, none), (module, foreign)],
            &[(kernel, none), (module, new), (efi, old)],
            &[(kernel, none), (module, new), (efi, none)],
            &[(kernel, none), (module, new), ("/boot/efi/EFI/BOOT/BOOTX64.EFI", old)],
            &[(kernel, none), (module, new), ("/boot/vmlinuz-4.3.0-1-amd64", none)],
            &[(kernel, none), (module, new), ("/boot/vmlinuz-old", none)],
            &[(kernel, none), (module, new), ("/boot/extlinux/extlinux.conf", none)],
        ] {
            assert!(!is_known_with(lacking), "{lacking:?}");
        }
    }
}
