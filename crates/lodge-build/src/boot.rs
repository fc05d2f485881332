//! GRUB for both firmwares, placed by us: `grub-install` wants a mounted disk, this needs none.
//!
//! The guest's own `grub-mkimage` (run in its tree) makes the core images, so core and modules are
//! always of one version. For BIOS the chain is: sector 0 (`boot.img`) loads the first sector of
//! `core.img` from the sector number written into it; that sector (`diskboot.img`) loads the rest
//! by the block list at its own end. Both numbers are patched here. The layout is documented in
//! GRUB's manual ("Images", "BIOS installation") and held against the bytes before it is used.
//!
//! Deliberately absent: Secure Boot (it needs Debian's signed shim, which wants its own partition
//! layout), and Reed-Solomon redundancy of the core image, which protects against other boot
//! loaders writing between MBR and first partition; here the core has a partition of its own.

use std::{ffi::OsString, path::Path, time::Duration};

use crate::{
    disk::{Layout, ROOT_PARTITION},
    dress::KERNEL_PARAMETERS,
    error::BuildError,
    progress::Phase,
    tool::{Network, Run, Toolbox},
    tree::Tree,
};

const SECTOR: usize = 512;
/// In `boot.img`: the sector of the core image, 64 bits.
const KERNEL_SECTOR: usize = 0x5c;
/// In `boot.img`: a jump which `grub-install` overwrites on hard disks, so that a BIOS which hands
/// over a wrong drive number is corrected.
const DRIVE_CHECK: usize = 0x66;
/// The MBR's code ends where the disk signature and the partition table begin.
const MBR_CODE: usize = 440;
/// In the first sector of `core.img`: start (64 bits), length in sectors, segment (16 bits each).
const BLOCK_LIST: usize = SECTOR - 12;
/// Where `diskboot.img` puts what follows it: 0x8200, as a segment.
const CORE_SEGMENT: u16 = 0x820;

/// What the boot loader consists of.
#[derive(Debug)]
pub(crate) struct Loader {
    pub boot_img: Vec<u8>,
    pub bios_core: Vec<u8>,
    pub efi: Vec<u8>,
}

/// Installs GRUB's modules and configuration into the tree and makes its two core images.
pub(crate) async fn install(
    toolbox: &Toolbox<'_>,
    root: &Path,
    tree: &Tree,
    layout: &Layout,
) -> Result<Loader, BuildError> {
    for platform in ["i386-pc", "x86_64-efi"] {
        let keep = |name: &str| matches!(name.rsplit_once('.'), Some((_, "mod" | "lst")));
        let (from, to) = (format!("usr/lib/grub/{platform}"), format!("boot/grub/{platform}"));
        tree.copy_files(&from, &to, keep)?;
    }
    tree.write("boot/grub/grub.cfg", grub_cfg(tree, layout)?.as_bytes(), 0o600)?;
    let bios_core = make_core(toolbox, root, tree, "i386-pc", &["biosdisk"]).await?;
    let efi = make_core(toolbox, root, tree, "x86_64-efi", &[]).await?;
    let boot_img = tree.read("usr/lib/grub/i386-pc/boot.img")?;
    Ok(Loader { boot_img, bios_core, efi })
}

async fn make_core(
    toolbox: &Toolbox<'_>,
    root: &Path,
    tree: &Tree,
    platform: &str,
    extra: &[&str],
) -> Result<Vec<u8>, BuildError> {
    // `(,gptN)`: on the disk the firmware started us from, whichever number it has today.
    let prefix = format!("(,gpt{ROOT_PARTITION})/boot/grub");
    let output = "boot/grub/core.tmp";
    let mut args: Vec<OsString> = vec![root.into(), "grub-mkimage".into()];
    args.extend(["-O", platform, "-p", &prefix, "-o", "/boot/grub/core.tmp"].map(Into::into));
    args.extend(["part_gpt", "ext2"].iter().chain(extra).map(Into::into));
    let run = Run {
        program: "chroot",
        args,
        network: Network::None,
        phase: Phase::BootLoader,
        limit: Duration::from_mins(2),
    };
    toolbox.run(run, |_| ()).await?;
    let image = tree.read(output)?;
    tree.remove(output)?;
    Ok(image)
}

/// The first configuration, until the guest's first `update-grub` writes its own.
fn grub_cfg(tree: &Tree, layout: &Layout) -> Result<String, BuildError> {
    let kernels = tree.names("boot")?;
    let version = kernels.iter().rev().find_map(|name| name.strip_prefix("vmlinuz-"));
    let version = version.ok_or_else(|| BuildError::NotInTree { what: "kernel in /boot".into() })?;
    if !tree.has(&format!("boot/initrd.img-{version}"))? {
        return Err(BuildError::NotInTree { what: format!("initrd of kernel {version}") });
    }
    Ok(format!(
        "# Made by the image's build; update-grub replaces it.\n\
         serial --unit=0 --speed=115200\n\
         terminal_input console serial\n\
         terminal_output console serial\n\
         set default=0\n\
         set timeout=0\n\
         menuentry 'Debian GNU/Linux' {{\n\
         \tlinux /boot/vmlinuz-{version} root=UUID={} ro {KERNEL_PARAMETERS}\n\
         \tinitrd /boot/initrd.img-{version}\n\
         }}\n",
        layout.root_uuid
    ))
}

/// The code for sector 0: `boot.img` told where the core image lies.
pub(crate) fn boot_sector(boot_img: &[u8], core_sector: u64) -> Result<Vec<u8>, BuildError> {
    let wrong = |why: &str| BuildError::BootLoader { file: "boot.img", why: why.to_owned() };
    if boot_img.len() != SECTOR || boot_img[SECTOR - 2..] != [0x55, 0xaa] {
        return Err(wrong("not one sector with a boot signature"));
    }
    if read_u64(boot_img, KERNEL_SECTOR) != 1 {
        return Err(wrong("the core's default sector is not 1"));
    }
    // A short jump: 0xeb.
    if boot_img[DRIVE_CHECK] != 0xeb {
        return Err(wrong("no jump at the drive check"));
    }
    let mut code = boot_img[..MBR_CODE].to_vec();
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core_sector.to_le_bytes());
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    Ok(code)
}

/// The core image told where it lies, so that its first sector finds the others.
pub(crate) fn place_core(core: &[u8], sector: u64, room: u64) -> Result<Vec<u8>, BuildError> {
    let wrong = |why: String| BuildError::BootLoader { file: "core.img", why };
    let sectors = core.len().div_ceil(SECTOR);
    if core.len() <= SECTOR || core.len() as u64 > room {
        return Err(wrong(format!("{} bytes do not fit in {room}", core.len())));
    }
    let mut core = core.to_vec();
    core.resize(sectors * SECTOR, 0);
    let (length, segment) = (read_u16(&core, BLOCK_LIST + 8), read_u16(&core, BLOCK_LIST + 10));
    if usize::from(length) != sectors - 1 || segment != CORE_SEGMENT {
        return Err(wrong(format!("its block list says {length} sectors to segment {segment:#x}")));
    }
    core[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(sector + 1).to_le_bytes());
    Ok(core)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Images of the right layout that boot nothing.
    pub(crate) fn loader() -> Loader {
        Loader { boot_img: boot_img(), bios_core: core_img(), efi: b"loader".to_vec() }
    }

    fn boot_img() -> Vec<u8> {
        let mut image = vec![0; SECTOR];
        image[KERNEL_SECTOR] = 1;
        image[DRIVE_CHECK] = 0xeb;
        image[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
        image
    }

    fn core_img() -> Vec<u8> {
        let mut image = vec![7; 3 * SECTOR - 100];
        image[BLOCK_LIST..SECTOR].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 0x08]);
        image
    }

    #[test]
    fn both_images_are_told_where_the_core_lies() {
        let code = boot_sector(&boot_img(), 2048).unwrap();
        assert_eq!(code.len(), MBR_CODE);
        assert_eq!(read_u64(&code, KERNEL_SECTOR), 2048);
        let core = place_core(&core_img(), 2048, 1 << 20).unwrap();
        assert_eq!(core.len(), 3 * SECTOR);
        assert_eq!(read_u64(&core, BLOCK_LIST), 2049);
    }

    #[test]
    fn images_of_another_layout_are_refused() {
        assert!(boot_sector(&[0; 512], 1).is_err());
        assert!(boot_sector(&boot_img()[..500], 1).is_err());
        assert!(place_core(&core_img(), 1, 512).is_err());
        let mut core = core_img();
        core[BLOCK_LIST + 8] = 9;
        assert!(place_core(&core, 1, 1 << 20).is_err());
    }
}
