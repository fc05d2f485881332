//! libvirt's drivers: whose a sort of object is on this root, ours or a libvirt daemon's.
//!
//! Each driver of libvirtd (or of virtqemud, virtnetworkd …) holds the lock of `run/libvirt/DRIVER/driver.pid` as long
//! as it runs, and does not come up without. Lodge takes the same locks: so it never works on objects that a libvirt
//! daemon has, and a libvirt daemon that is started by mistake while Lodge runs ends with a message instead of fighting
//! over QEMU's monitors. Both find running objects by the files beside the lock.
//! Deliberately absent: what to do about a daemon that has them (the engine's).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lodge_sys::fs::{RecordLock, Taken, record_lock, record_lock_holder};
use lodge_sys::process::boot_id;

use crate::Root;

/// A driver of libvirt's whose work is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Driver {
    /// Guests: libvirtd, virtqemud.
    Qemu,
    /// Networks: libvirtd, virtnetworkd.
    Network,
    /// Pools: libvirtd, virtstoraged.
    Storage,
    /// Secrets: libvirtd, virtsecretd.
    Secrets,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Qemu, Self::Network, Self::Storage, Self::Secrets];

    /// Its directory in `run/libvirt`.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Secrets => "secrets",
        }
    }

    /// The daemon that is only this driver.
    pub const fn modular_daemon(self) -> &'static str {
        match self {
            Self::Qemu => "virtqemud",
            Self::Network => "virtnetworkd",
            Self::Storage => "virtstoraged",
            Self::Secrets => "virtsecretd",
        }
    }
}

/// A libvirt daemon that has a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// The driver.
    pub driver: Driver,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// Its program: `libvirtd`, `virtqemud` ….
    pub program: String,
}

/// The drivers of one root. Cheap to clone; what was taken is held until the last clone is gone.
#[derive(Debug, Clone)]
pub struct Drivers {
    run: PathBuf,
    held: Arc<Mutex<BTreeMap<Driver, Hold>>>,
}

/// What came of taking a driver.
#[derive(Debug)]
enum Hold {
    /// It is ours as long as this is held.
    Ours { _lock: RecordLock },
    /// A libvirt daemon had it when we last looked.
    Others,
}

impl Drivers {
    /// Those of `root`; none is taken.
    pub fn of(root: &Root) -> Self {
        Self { run: root.libvirt_run(), held: Arc::default() }
    }

    /// Takes a driver, or says who has it. Done already if it is ours.
    pub fn take(&self, driver: Driver) -> io::Result<Result<(), Occupant>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(held.get(&driver), Some(Hold::Ours { .. })) {
            return Ok(Ok(()));
        }
        let path = lock_of(&self.run, driver);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        Ok(match record_lock(&path)? {
            Taken::Ours(lock) => {
                held.insert(driver, Hold::Ours { _lock: lock });
                Ok(())
            }
            Taken::Held(pid) => {
                held.insert(driver, Hold::Others);
                Err(occupant(driver, pid))
            }
        })
    }

    /// Whether a driver is ours.
    pub fn is_ours(&self, driver: Driver) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(held.get(&driver), Some(Hold::Ours { .. }))
    }

    /// Whether a libvirt daemon had a driver when we last wished to take it.
    pub fn is_others(&self, driver: Driver) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(held.get(&driver), Some(Hold::Others))
    }

    /// Whether what is marked to start with the host is still to be started: once per boot, by whichever daemon is
    /// first, as libvirt has it. Never where the driver is another's.
    pub fn may_autostart(&self, driver: Driver) -> bool {
        let done = || std::fs::read_to_string(self.autostarted(driver)).ok();
        // libvirt's file is empty and goes with the boot; ours may lie where files stay.
        let this_boot = |text: &String| text.is_empty() || boot_id().is_ok_and(|boot| text.trim() == boot);
        !self.is_others(driver) && !done().as_ref().is_some_and(this_boot)
    }

    /// Notes that it was started.
    pub fn note_autostart(&self, driver: Driver) -> io::Result<()> {
        let path = self.autostarted(driver);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, boot_id()? + "\n")
    }

    fn autostarted(&self, driver: Driver) -> PathBuf {
        self.run.join(driver.directory()).join("autostarted")
    }
}

/// The libvirt daemons that have drivers of `root` now, for those who hold none themselves.
pub fn occupants(root: &Root) -> io::Result<Vec<Occupant>> {
    let run = root.libvirt_run();
    let mut found = Vec::new();
    for driver in Driver::ALL {
        if let Some(pid) = record_lock_holder(&lock_of(&run, driver))? {
            found.push(occupant(driver, pid));
        }
    }
    Ok(found)
}

fn lock_of(run: &Path, driver: Driver) -> PathBuf {
    run.join(driver.directory()).join("driver.pid")
}

fn occupant(driver: Driver, pid: Option<u32>) -> Occupant {
    let program = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    let program = program.map(|comm| comm.trim().to_owned()).filter(|comm| !comm.is_empty());
    Occupant { driver, pid, program: program.unwrap_or_else(|| "libvirtd".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_once_per_boot() {
        let dir = tempfile::tempdir().unwrap();
        let drivers = Drivers::of(&Root::at(dir.path()).unwrap());
        assert!(drivers.may_autostart(Driver::Qemu));
        drivers.note_autostart(Driver::Qemu).unwrap();
        assert!(!drivers.may_autostart(Driver::Qemu) && drivers.may_autostart(Driver::Network));
        std::fs::write(drivers.autostarted(Driver::Qemu), "an earlier boot\n").unwrap();
        assert!(drivers.may_autostart(Driver::Qemu));
        // libvirt's.
        std::fs::write(drivers.autostarted(Driver::Qemu), "").unwrap();
        assert!(!drivers.may_autostart(Driver::Qemu));
    }

    #[test]
    fn a_driver_is_one_daemons() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert_eq!(occupants(&root).unwrap(), []);
        let ours = Drivers::of(&root);
        ours.take(Driver::Qemu).unwrap().unwrap();
        ours.take(Driver::Qemu).unwrap().unwrap();
        assert!(ours.is_ours(Driver::Qemu) && !ours.is_ours(Driver::Network));
        let other = Drivers::of(&root);
        let occupant = other.take(Driver::Qemu).unwrap().unwrap_err();
        assert!(
            other.is_others(Driver::Qemu) && !other.is_ours(Driver::Qemu) && !ours.is_others(Driver::Qemu)
        );
        assert_eq!((occupant.driver, occupant.pid), (Driver::Qemu, Some(std::process::id())));
        other.take(Driver::Network).unwrap().unwrap();
        assert_eq!(occupants(&root).unwrap().len(), 2);
        drop(ours);
        other.take(Driver::Qemu).unwrap().unwrap();
        assert!(other.is_ours(Driver::Qemu));
    }
}
