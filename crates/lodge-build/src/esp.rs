//! The EFI system partition: a FAT with one file, where UEFI looks when nobody told it anything.
//!
//! UEFI specification 3.5.1.1: `EFI/BOOT/BOOTX64.EFI` is the removable media's default.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    path::Path,
};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};

/// Makes the file system in a new file `scratch`, and returns it.
pub(crate) fn make(scratch: &Path, size: u64, id: u32, efi: &[u8]) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(scratch)?;
    file.set_len(size)?;
    // FAT16 by name: what fits in 62 MiB, and every firmware reads it.
    let options =
        FormatVolumeOptions::new().fat_type(FatType::Fat16).volume_id(id).volume_label(*b"EFI        ");
    format_volume(file.try_clone()?, options)?;
    let fat = FileSystem::new(file.try_clone()?, FsOptions::new())?;
    {
        let boot = fat.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
        let mut loader = boot.create_file("BOOTX64.EFI")?;
        loader.write_all(efi)?;
        loader.flush()?;
    }
    fat.unmount()?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_loader_is_where_the_firmware_looks() {
        let dir = tempfile::tempdir().unwrap();
        let file = make(&dir.path().join("esp"), 62 << 20, 0x1234_abcd, b"loader").unwrap();
        let fat = FileSystem::new(file, FsOptions::new()).unwrap();
        assert_eq!(fat.volume_id(), 0x1234_abcd);
        let mut text = String::new();
        let mut loader = fat.root_dir().open_file("efi/boot/bootx64.efi").unwrap();
        loader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "loader");
    }
}
