//! A file system whose device takes no writes for a while: what the host has cached stays there, and who asks for it to be
//! durable waits. Reads go on.
//!
//! The device is a loop over a file in another file system, which the kernel freezes.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::dying::Loop;
use crate::mount::{Mount, said};

/// An ext4 on a device that can stand still.
pub struct SlowDisk {
    // In this order: each stands on the next.
    mount: Mount,
    _device: Loop,
    below: Mount,
    _below_device: Loop,
    _own: tempfile::TempDir,
}

impl SlowDisk {
    /// Makes and mounts one of `mib`.
    pub fn new(mib: u64) -> Option<Self> {
        let own = tempfile::Builder::new().prefix("lodge-slow-").tempdir_in("/var/tmp").ok()?;
        let place = |name: &str| {
            let place = own.path().join(name);
            std::fs::create_dir(&place).map(|()| place)
        };
        let (outer, inner) = (place("outer").ok()?, place("inner").ok()?);
        let (below, below_device) = file_system(&own.path().join("file"), mib * 2 + 16, &outer)?;
        let (mount, device) = file_system(&outer.join("file"), mib, &inner)?;
        Some(Self { mount, _device: device, below, _below_device: below_device, _own: own })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// From now on its device takes no writes.
    pub fn stand_still(&self) {
        said(Command::new("fsfreeze").arg("--freeze").arg(self.below.path())).expect("it is mounted");
    }

    /// It takes them again.
    pub fn go_on(&self) {
        said(Command::new("fsfreeze").arg("--unfreeze").arg(self.below.path())).expect("it stands still");
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // It may go on already.
        let _ = said(Command::new("fsfreeze").arg("--unfreeze").arg(self.below.path()));
    }
}

/// Makes and mounts an ext4 in a new file.
fn file_system(file: &Path, mib: u64, at: &Path) -> Option<(Mount, Loop)> {
    File::create(file).and_then(|made| made.set_len(mib << 20)).ok()?;
    let device = Loop::over(file)?;
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-O", "^has_journal", "-E", "lazy_itable_init=0"]).arg(&device.path);
    if let Err(why) = said(&mut make) {
        eprintln!("skipped: mkfs.ext4: {why}");
        return None;
    }
    let mount = Mount::new("ext4", "noatime", &device.path, at)?;
    Some((mount, device))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_wants_to_be_sure_waits_until_it_goes_on() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let Some(disk) = SlowDisk::new(16) else { return };
        let path = disk.path().join("a");
        let mut file = File::create(&path).unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        disk.stand_still();
        file.write_all(&vec![2; 65536]).unwrap();
        let (tell, told) = mpsc::channel();
        let asks = std::thread::spawn(move || tell.send(file.sync_data()));
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err());
        assert_eq!(std::fs::read(&path).unwrap()[4096], 2);
        disk.go_on();
        told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        asks.join().unwrap().unwrap();
    }
}
