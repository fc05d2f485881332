//! A file system of a few KiB or MiB, to run out of room on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::mount::Mount;

/// Name of the file that takes all the room.
const BALLAST: &str = ".ballast";

/// A tmpfs of its own.
pub struct SmallDisk {
    // Before the directory it is mounted on.
    mount: Mount,
    _own: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// Mounts one of `size_mib` in a place of its own.
    pub fn new(size_mib: u32) -> io::Result<Option<Self>> {
        let own = tempfile::Builder::new().prefix("lodge-small-").tempdir_in("/var/tmp")?;
        let mount = tmpfs(own.path(), &format!("{size_mib}m"));
        Ok(mount.map(|mount| Self { mount, _own: Some(own) }))
    }

    /// Mounts one of `size` (`8k`) over a directory that is there.
    pub fn at(place: &Path, size: &str) -> Option<Self> {
        Some(Self { mount: tmpfs(place, size)?, _own: None })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// It has another size from now on.
    pub fn resize(&self, size: &str) {
        self.mount.remount(&format!("size={size}"));
    }

    /// Takes all the room there is.
    pub fn fill(&self) -> io::Result<()> {
        self.fill_but(0)
    }

    /// Takes all the room there is but for `spare` bytes.
    pub fn fill_but(&self, spare: u64) -> io::Result<()> {
        let path = self.path().join(BALLAST);
        let mut file = File::create(&path)?;
        let block = [0; 4096];
        let mut length = 0;
        loop {
            match file.write(&block) {
                Ok(written) => length += written as u64,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        file.set_len(length.saturating_sub(spare))
    }

    /// Gives it back.
    pub fn free(&self) -> io::Result<()> {
        fs::remove_file(self.path().join(BALLAST))
    }
}

fn tmpfs(place: &Path, size: &str) -> Option<Mount> {
    Mount::new("tmpfs", &format!("size={size},mode=755"), Path::new("lodge-test"), place)
}
