//! Files of snapshots: libvirt's `var/lib/libvirt/qemu/snapshot/DOMAIN/NAME.xml`, in its layout and with its header, so
//! that a host moves over and back with them.
//!
//! Each file appears whole and durable or not at all. Deliberately absent: what is in them (lodge-model), and the order
//! in which those of one domain change (lodge-domain).

use std::io;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_sys::fs::{create_dirs_durable, remove_durable, sync_dir, write_durable};

use crate::Root;

/// The longest file that is read: a snapshot holds two documents of a domain.
const LONGEST_BYTES: u64 = 16 << 20;
/// The most snapshots of one domain.
const MOST: usize = 16_384;

/// A failed act on a snapshot's file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they are")]
pub enum SnapshotFileError {
    /// They could not be listed or read.
    #[error("cannot read the snapshots in `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// One could not be written; the old one, if any, stands.
    #[error("cannot write the snapshot's file `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// One could not be removed.
    #[error("cannot remove the snapshot's file `{}`", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

impl SnapshotFileError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        let (Self::Read { source, .. } | Self::Write { source, .. } | Self::Remove { source, .. }) = self;
        crate::store::io_kind(source)
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self.kind() {
            Kind::Exhausted => Some("free some space on that file system, then try again".to_owned()),
            Kind::Denied => Some("check the owner and the mode of the file and its directory".to_owned()),
            _ => None,
        }
    }
}

/// The files of all domains' snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    dir: PathBuf,
}

impl SnapshotFiles {
    /// Those of a root.
    pub fn of(root: &Root) -> Self {
        Self { dir: root.snapshots() }
    }

    /// Where those of a domain are.
    pub fn dir(&self, domain: &str) -> PathBuf {
        self.dir.join(domain)
    }

    /// The domains that have some.
    pub fn domains(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The texts of a domain's, without their headers, by file. One that cannot be read is an error of its own.
    pub fn load(&self, domain: &str) -> Result<Vec<(PathBuf, io::Result<String>)>, SnapshotFileError> {
        let dir = self.dir(domain);
        let failed = |source| SnapshotFileError::Read { path: dir.clone(), source };
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let is_ours =
                entry.file_name().to_str().is_some_and(|name| !name.starts_with('.') && is_xml(name));
            if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) && files.len() < MOST {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files.into_iter().map(|path| (path.clone(), read(&path))).collect())
    }

    /// Writes one.
    pub fn put(&self, domain: &str, name: &str, text: &str) -> Result<(), SnapshotFileError> {
        let path = self.file(domain, name);
        let written = create_dirs_durable(&self.dir(domain), 0o700)
            .and_then(|()| write_durable(&path, with_header(text).as_bytes(), 0o600));
        written.map_err(|source| SnapshotFileError::Write { path, source })
    }

    /// Removes one, and the directory with the last. One that is not there is fine.
    pub fn remove(&self, domain: &str, name: &str) -> Result<(), SnapshotFileError> {
        let path = self.file(domain, name);
        match remove_durable(&path) {
            // There is no directory either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|source| SnapshotFileError::Remove { path, source })?,
        };
        self.tidy(domain)
    }

    /// Removes all of a domain's.
    pub fn remove_all(&self, domain: &str) -> Result<(), SnapshotFileError> {
        for (path, _) in self.load(domain)? {
            remove_durable(&path).map_err(|source| SnapshotFileError::Remove { path, source })?;
        }
        self.tidy(domain)
    }

    /// Gives a domain's to its new name.
    pub fn rename(&self, old: &str, new: &str) -> Result<(), SnapshotFileError> {
        let (from, to) = (self.dir(old), self.dir(new));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed
                .and_then(|()| sync_dir(&self.dir))
                .map_err(|source| SnapshotFileError::Write { path: to, source }),
        }
    }

    /// An empty directory goes.
    fn tidy(&self, domain: &str) -> Result<(), SnapshotFileError> {
        let path = self.dir(domain);
        match std::fs::remove_dir(&path) {
            Ok(()) => sync_dir(&self.dir).map_err(|source| SnapshotFileError::Remove { path, source }),
            // Others are in it, or it is gone.
            Err(_) => Ok(()),
        }
    }

    fn file(&self, domain: &str, name: &str) -> PathBuf {
        self.dir(domain).join(format!("{name}.xml"))
    }
}

fn is_xml(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "xml")
}

fn read(path: &Path) -> io::Result<String> {
    let size = path.symlink_metadata()?.len();
    if size > LONGEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is {size} bytes long")));
    }
    let text = std::fs::read_to_string(path)?;
    Ok(crate::definitions::header::strip(&text).0.to_owned())
}

/// libvirt's words, which name no domain here.
fn with_header(text: &str) -> String {
    format!(
        "<!--\n\
         WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n\
         OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n  \
         virsh snapshot-edit\n\
         or other application using the libvirt API.\n\
         -->\n\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_and_go_with_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let files = SnapshotFiles { dir: dir.path().to_owned() };
        assert!(files.load("web1").unwrap().is_empty());
        files.put("web1", "s 1", "<domainsnapshot/>\n").unwrap();
        files.put("web1", "a.b", "<domainsnapshot>2</domainsnapshot>\n").unwrap();
        std::fs::write(dir.path().join("web1/.half.xml"), "x").unwrap();
        let texts: Vec<_> = files.load("web1").unwrap().into_iter().map(|(_, text)| text.unwrap()).collect();
        assert_eq!(texts, ["<domainsnapshot>2</domainsnapshot>\n", "<domainsnapshot/>\n"]);
        assert_eq!(files.domains(), ["web1"]);
        files.rename("web1", "web2").unwrap();
        assert_eq!(files.load("web2").unwrap().len(), 2);
        std::fs::remove_file(dir.path().join("web2/.half.xml")).unwrap();
        files.remove("web2", "s 1").unwrap();
        files.remove("web2", "s 1").unwrap();
        files.remove_all("web2").unwrap();
        assert!(files.domains().is_empty());
        files.remove("web2", "none").unwrap();
    }
}
