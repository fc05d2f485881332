//! A file system of a few MiB, to run out of room on.

use std::{fs, io, io::Write, path::Path, process::Command};

use anyhow::{Context, Result};

/// A tmpfs of its own, unmounted when dropped.
pub struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one of `size_mib`; `None`, having said why, where mounting is not allowed.
    pub fn new(size_mib: u32) -> Result<Option<Self>> {
        let directory = tempfile::Builder::new().prefix("lodge-small-").tempdir_in("/var/tmp")?;
        let options = format!("size={size_mib}m,mode=755");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "lodge-test"])
            .arg(directory.path())
            .output();
        if !mount.context("cannot run `mount`")?.status.success() {
            crate::skip("may not mount a tmpfs here");
            return Ok(None);
        }
        Ok(Some(Self { directory }))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Makes it larger.
    pub fn grow(&self, size_kib: u32) -> Result<()> {
        let size = format!("remount,size={size_kib}k");
        let grown = Command::new("mount").args(["-o", &size]).arg(self.path()).status()?;
        anyhow::ensure!(grown.success(), "the file system did not grow");
        Ok(())
    }

    /// Takes all the room there is.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.path().join("documents").join("ballast"))?;
        let block = vec![0; 4096];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives it back.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.path().join("documents").join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.path().display());
        }
    }
}
