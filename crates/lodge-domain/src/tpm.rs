//! Where the state of a guest's emulated TPM lies, and when it goes.
//!
//! libvirt's layout: a directory per guest and specification, unless the document names another place. A place that
//! the document names is the user's: of it only swtpm's own files go. Deliberately absent: making the state and serving
//! it (`start/helpers/tpm.rs`).

use std::io;
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::tpm::{Tpm, TpmBackendKind, TpmSourceKind, TpmVersion};
use lodge_model::xml::YesNo;
use lodge_store::Root;
use serde::{Deserialize, Serialize};

/// swtpm's files of a state: what lasts, what a suspended guest left, the lock.
const FILES: [&str; 6] = [
    "tpm2-00.permall",
    "tpm2-00.volatilestate",
    "tpm-00.permall",
    "tpm-00.volatilestate",
    "tpm-00.savestate",
    ".lock",
];
/// The files that tell a state that was made from an empty directory.
const MADE: [&str; 2] = ["tpm2-00.permall", "tpm-00.permall"];

/// Where a TPM's state is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Below the guest's own directory.
    Own { guest: PathBuf, dir: PathBuf },
    /// In a directory that the document names.
    Directory(PathBuf),
    /// In a file that the document names.
    File(PathBuf),
}

/// The emulated TPM of a document, and which of its TPMs it is.
pub(crate) fn emulated(document: &Domain) -> Option<(usize, &Tpm)> {
    let mut tpms = document.devices.tpms.iter().enumerate();
    tpms.find(|(_, tpm)| tpm.backend.kind == TpmBackendKind::Emulator)
}

/// Whether the state goes with the definition. libvirt's rule: what is to persist goes if that is asked for, the rest
/// unless it is asked to stay.
pub(crate) fn goes(tpm: &Tpm, asked: bool, kept: bool) -> bool {
    if tpm.backend.persistent_state == Some(YesNo::Yes) { asked } else { !kept }
}

/// The file or directory with the state of a guest's emulated TPM.
pub fn tpm_state(root: &Root, id: DomainId, document: &Domain) -> Option<PathBuf> {
    State::of(root, id, document).map(|state| state.path().to_owned())
}

impl State {
    /// The place that a document means.
    pub fn of(root: &Root, id: DomainId, document: &Domain) -> Option<Self> {
        let (_, tpm) = emulated(document)?;
        let source = tpm.backend.source.as_ref();
        let named = source.and_then(|source| Some((source.kind, PathBuf::from(source.path.as_deref()?))));
        Some(match named {
            Some((TpmSourceKind::File, path)) => Self::File(path),
            Some((_, path)) => Self::Directory(path),
            None => {
                let guest = root.swtpm_state(id.0);
                let name = match tpm.backend.version {
                    Some(TpmVersion::V1_2) => "tpm1.2",
                    Some(TpmVersion::V2_0) | None => "tpm2",
                };
                Self::Own { dir: guest.join(name), guest }
            }
        })
    }

    /// What a person is told of.
    pub fn path(&self) -> &Path {
        match self {
            Self::Own { guest, .. } => guest,
            Self::Directory(path) | Self::File(path) => path,
        }
    }

    /// What swtpm has: its directory, or the file.
    pub fn place(&self) -> &Path {
        match self {
            Self::Own { dir, .. } => dir,
            Self::Directory(path) | Self::File(path) => path,
        }
    }

    /// Whether it is one file.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Whether a TPM was made here.
    pub fn is_made(&self) -> bool {
        match self {
            Self::File(path) => path.metadata().is_ok_and(|metadata| metadata.len() > 0),
            Self::Own { dir, .. } | Self::Directory(dir) => MADE.iter().any(|file| dir.join(file).exists()),
        }
    }

    /// Makes the place, empty, if it is not there. Others may pass through to it, and look nowhere.
    pub fn make_place(&self) -> io::Result<()> {
        if let Self::File(path) = self {
            let mut options = std::fs::OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            return options.append(true).create(true).open(path).map(drop);
        }
        if let Some(parent) = self.place().parent() {
            lodge_sys::fs::create_dirs_durable(parent, 0o711)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(self.place()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.place().is_dir() => Ok(()),
            made => made,
        }
    }

    /// Gives it to a user, with swtpm's files.
    pub fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        let give = |path: &Path| match lchown(path, Some(uid), Some(gid)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            given => given,
        };
        if !self.is_file() {
            FILES.iter().try_for_each(|file| give(&self.place().join(file)))?;
        }
        give(self.place())
    }

    /// Removes it. Fine if it is gone.
    pub fn remove(&self) -> io::Result<()> {
        let gone = |removed: io::Result<()>| match removed {
            // What is in the way of a directory is not ours.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(())
            }
            other => other,
        };
        match self {
            Self::Own { guest, .. } => gone(std::fs::remove_dir_all(guest)),
            Self::File(path) => gone(std::fs::remove_file(path)),
            Self::Directory(path) => {
                FILES.iter().try_for_each(|file| gone(std::fs::remove_file(path.join(file))))?;
                match std::fs::remove_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                    removed => gone(removed),
                }
            }
        }
    }
}

/// The state of a guest without a definition goes with it, unless it is to persist.
pub(crate) fn forget_vanished(root: &Root, id: DomainId, name: &str, live: &str) {
    let Ok(document) = Domain::parse(live) else { return };
    let Some((_, tpm)) = emulated(&document).filter(|(_, tpm)| goes(tpm, false, false)) else { return };
    let place = tpm.backend.source.as_ref().and_then(|source| source.path.clone());
    let Some(state) = State::of(root, id, &document) else { return };
    if let Err(error) = state.remove() {
        tracing::warn!(domain = name, place, %error, "the TPM's state of a domain that is gone was not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(backend: &str) -> Domain {
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>\
             <tpm model='tpm-crb'><backend type='emulator' {backend}</backend></tpm></devices></domain>"
        );
        Domain::parse(&text).unwrap()
    }

    #[test]
    fn the_state_lies_where_libvirt_has_it() {
        let (dir, id) = (tempfile::tempdir().unwrap(), DomainId::random());
        let root = Root::at(dir.path()).unwrap();
        let of = |backend: &str| State::of(&root, id, &document(backend)).unwrap();
        let guest = root.libvirt_lib().join("swtpm").join(id.to_string());
        assert_eq!(of("version='2.0'>").place(), guest.join("tpm2"));
        assert_eq!(of("version='1.2'>").place(), guest.join("tpm1.2"));
        assert_eq!(of("version='2.0'><source type='dir' path='/s'/>"), State::Directory("/s".into()));
        assert_eq!(of("version='2.0'><source type='file' path='/f'/>"), State::File("/f".into()));
        assert_eq!(State::of(&root, id, &Domain::default()), None);
    }

    #[test]
    fn what_persists_goes_when_asked_the_rest_unless_kept() {
        let goes = |backend: &str, asked, kept| {
            let document = document(backend);
            goes(emulated(&document).unwrap().1, asked, kept)
        };
        let (usual, persists) = ("version='2.0'>", "version='2.0' persistent_state='yes'>");
        assert!(goes(usual, false, false) && goes(usual, true, false) && !goes(usual, false, true));
        assert!(!goes(persists, false, false) && goes(persists, true, false));
    }

    #[test]
    fn of_a_place_the_user_named_only_swtpms_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::Directory(dir.path().join("s"));
        state.make_place().unwrap();
        assert!(!state.is_made());
        let write = |name: &str| std::fs::write(state.place().join(name), "x").unwrap();
        write("tpm2-00.permall");
        write("letter");
        assert!(state.is_made());
        state.remove().unwrap();
        assert!(!state.is_made() && state.place().join("letter").exists());
        std::fs::remove_file(state.place().join("letter")).unwrap();
        state.remove().unwrap();
        assert!(!state.place().exists());
        state.remove().unwrap();
    }
}
