//! A file system whose device takes no more writes from a moment on: what the host has cached cannot be written back,
//! and who asks for it to be durable is told of an I/O error.
//!
//! The device is a loop over a file in memory, which the kernel seals: every later write of the device fails (EPERM, which
//! the block layer knows as EIO), reads go on. What was on it at that moment is what a crash of the host would leave.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, syncfs};

use crate::mount::{Mount, said};

/// An ext4 on a device that can die.
pub struct DyingDisk {
    // In this order: each stands on the next.
    mount: Mount,
    _device: Loop,
    memory: File,
    _own: tempfile::TempDir,
}

impl DyingDisk {
    /// Makes and mounts one of `mib`.
    pub fn new(mib: u64) -> Option<Self> {
        let memory =
            memfd_create("lodge-dying-disk", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).ok()?;
        ftruncate(&memory, mib << 20).ok()?;
        let memory = File::from(memory);
        let file = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        let device = Loop::over(Path::new(&file))?;
        // Without a journal, whose end would take the whole file system along.
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-O", "^has_journal", "-E", "lazy_itable_init=0"]).arg(&device.path);
        if let Err(why) = said(&mut make) {
            eprintln!("skipped: mkfs.ext4: {why}");
            return None;
        }
        let own = tempfile::Builder::new().prefix("lodge-dying-").tempdir_in("/var/tmp").ok()?;
        // What is written stays in the host's cache until somebody asks for it, so a test has its moment in its hand.
        let mount = Mount::new("ext4", "noatime,errors=continue", &device.path, own.path())?;
        Some(Self { mount, _device: device, memory, _own: own })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// The device takes no more writes. What was written until now is on it.
    pub fn die(&self) {
        let root = File::open(self.path()).expect("it is mounted");
        syncfs(&root).expect("a device that is well takes all");
        fcntl_add_seals(&self.memory, SealFlags::FUTURE_WRITE).expect("a file of one's own can be sealed");
    }
}

/// A loop device; let go when dropped.
pub(crate) struct Loop {
    pub path: PathBuf,
}

impl Loop {
    pub fn over(file: &Path) -> Option<Self> {
        match said(Command::new("losetup").args(["--find", "--show"]).arg(file)) {
            Ok(path) => Some(Self { path: path.into() }),
            Err(why) => {
                eprintln!("skipped: no loop device: {why}");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = said(Command::new("losetup").arg("--detach").arg(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_disk_that_died_tells_those_who_want_to_be_sure() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let Some(disk) = DyingDisk::new(16) else { return };
        let mut file = File::create(disk.path().join("a")).unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        disk.die();
        file.write_all(&vec![2; 65536]).unwrap();
        let error = file.sync_data().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        assert_eq!(std::fs::read(disk.path().join("a")).unwrap()[0], 1);
    }
}
