//! `<memoryBacking><source type='file'/>`: the guest's memory is in a file, so that it need not be in the host's.
//!
//! The file has no name: it lives as long as QEMU does, survives the daemon, and needs no undo. QEMU knows such a file
//! by name only, gets `/proc/self/fd/N` as the name, and makes it as long as the memory (see `kernel`).

use std::path::Path;

use lodge_model::domain::Domain;
use lodge_qemu::{Claims, Credentials, Descriptors, memory_files};
use lodge_store::saga::Failure;
use rustix::fs::{Mode, OFlags};

use super::file_failure;

/// Makes a file for each part of the memory that wants one, in `dir`.
pub(super) fn pass(
    document: &Domain,
    user: Option<&Credentials>,
    dir: &Path,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    let wanted = memory_files(document);
    if wanted.is_empty() {
        return Ok(());
    }
    lodge_sys::fs::create_dirs_durable(dir, 0o711)
        .map_err(|error| file_failure("make the directory", dir, &error))?;
    for id in wanted {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| file_failure("make memory in", dir, &error.into()))?;
        if let Some(user) = user {
            std::os::unix::fs::fchown(&made, Some(user.uid), Some(user.gid))
                .map_err(|error| file_failure("give memory to the guest's user in", dir, &error))?;
        }
        claims.memory.insert(id, descriptors.pass(made));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_qemu::{Accelerator, FdNumber};

    #[test]
    fn each_cell_in_a_file_has_one_and_none_has_a_name() {
        let text = "<domain type='qemu'><name>n</name><memory unit='MiB'>64</memory><vcpu>2</vcpu><memoryBacking>\
             <source type='file'/></memoryBacking><os><type>hvm</type></os><cpu><numa>\
             <cell id='0' cpus='0' memory='32' unit='MiB'/><cell id='1' cpus='1' memory='32' unit='MiB'/>\
             </numa></cpu></domain>";
        let document = Domain::parse(text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let room = dir.path().join("ram");
        let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(3));
        let mut descriptors = Descriptors::default();
        pass(&document, None, &room, &mut claims, &mut descriptors).unwrap();
        assert_eq!(claims.memory.keys().collect::<Vec<_>>(), ["ram-node0", "ram-node1"]);
        assert_eq!(std::fs::read_dir(&room).unwrap().count(), 0);
        for fd in claims.memory.values() {
            std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}")).unwrap();
        }
    }

    #[test]
    fn memory_that_is_in_no_file_makes_nothing() {
        let text = "<domain type='qemu'><name>n</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>";
        let dir = tempfile::tempdir().unwrap();
        let room = dir.path().join("ram");
        let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(3));
        pass(&Domain::parse(text).unwrap(), None, &room, &mut claims, &mut Descriptors::default()).unwrap();
        assert!(claims.memory.is_empty() && !room.exists());
    }
}
