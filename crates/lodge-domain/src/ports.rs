//! What a guest's life needs of other resources. The engine implements these on storage, network and guest.
//!
//! Rules for all: every call may be made twice (after a crash it will be), `release`-like calls on what is not
//! held are no error, and nothing here may block the thread. A call that takes long delays its own guest only.

mod devices;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::domain::disk::{Disk, DiskSource, SourceKind};
use lodge_model::domain::interface::{Bandwidth, Interface};
use lodge_model::{DomainId, Kind, MacAddr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::devices::{Beginning, ClaimedDevice, DeviceGift, HostDevices, QemuUser};

/// Why a port refused. It says it in the resource's own words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// The sort.
    pub kind: Kind,
    /// What failed and about what, lower case.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The cause.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// An error without a cause or hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One file of a disk's chain, open.
#[derive(Debug)]
pub struct ChainLink {
    /// The file.
    pub path: PathBuf,
    /// Its format as QEMU's driver word: `qcow2`, `raw` ….
    pub format: String,
    /// It, open for what the guest may do with it.
    pub fd: OwnedFd,
    /// Opened for reading only.
    pub read_only: bool,
}

/// One image of a disk's chain that a server has. There is nothing to lock: who else writes it, only the server knows.
#[derive(Debug)]
pub struct ServedLink {
    /// Where it is.
    pub source: DiskSource,
    /// Its format as QEMU's driver word.
    pub format: String,
    /// It is only read.
    pub read_only: bool,
    /// The secret one logs in with, as a file in memory.
    pub login: Option<OwnedFd>,
    /// The cookies, as a file in memory.
    pub cookies: Option<OwnedFd>,
}

/// The passphrase of one file of a disk.
#[derive(Debug)]
pub struct Passphrase {
    /// The disk's target, as `vda`.
    pub target: String,
    /// The file's place in the disk's chain: the guest's own is 0.
    pub depth: usize,
    /// It, as a file in memory.
    pub file: OwnedFd,
}

/// A file that only a passphrase opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedFile {
    /// The file.
    pub path: PathBuf,
    /// Its `<encryption>` as a text, which names the secret and does not have it.
    pub encryption: String,
}

/// An empty qcow2 to be made, that stands on another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOverlay {
    /// The file.
    pub path: PathBuf,
    /// What it stands on.
    pub backing: PathBuf,
    /// The format of that as QEMU's driver word.
    pub format: String,
    /// That is encrypted.
    pub is_on_locked: bool,
    /// The new one's `<encryption>` as a text.
    pub encryption: Option<String>,
}

/// A disk that is locked for a domain and open.
#[derive(Debug, Default)]
pub struct ClaimedDisk {
    /// The disk's target, as `vda`.
    pub target: String,
    /// The chain, the guest's own file first, the deepest backing file last. Empty for an empty drive and for
    /// what is no local file.
    pub chain: Vec<ChainLink>,
    /// How the chain goes on, or what it is, where servers have the images.
    pub served: Vec<ServedLink>,
}

/// What would happen to a disk's storage on removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskStorage {
    /// The disk's target, as `vda`.
    pub target: String,
    /// Its file.
    pub path: PathBuf,
    /// Why it must not be deleted; none if it may.
    pub keep: Option<String>,
}

/// Where a disk is copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTarget {
    /// The file or block device.
    pub path: PathBuf,
    /// Its format as QEMU's driver word.
    pub format: String,
    /// What the guest sees of it, in bytes.
    pub size: u64,
    /// What a new file stands on, and its format.
    pub backing: Option<(PathBuf, String)>,
    /// Files below the guest's own, which it has: headers may name them wherever they lie.
    pub layers: Vec<PathBuf>,
    /// It is there already, with what it is to stand on.
    pub reuse: bool,
    /// Its `<encryption>` as a text.
    pub encryption: Option<String>,
    /// Which of the files below it are encrypted, the nearest first.
    pub locked_below: Vec<bool>,
}

/// A snapshot inside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSnapshot {
    /// Its name.
    pub name: String,
    /// Bytes of the guest's memory in it.
    pub memory_bytes: u64,
}

/// The room of a place where disks lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of all of it.
    pub capacity: u64,
    /// Bytes free; none of a block device, which knows its size only.
    pub available: Option<u64>,
}

/// What is done about a snapshot inside an image that nobody has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotVerb {
    /// Take it.
    Create,
    /// Bring the image back to it.
    Apply,
    /// Remove it.
    Delete,
}

/// Disks.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// Locks and opens every disk of `document` for `domain`. All or nothing.
    async fn claim(&self, domain: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError>;
    /// The passphrases of the encrypted files that `document`'s disks name.
    async fn passphrases(&self, document: &Domain) -> Result<Vec<Passphrase>, PortError> {
        let is_locked = |disk: &&Disk| disk.encryption_trees().iter().any(Option::is_some);
        match document.devices.disks.iter().find(is_locked) {
            None => Ok(Vec::new()),
            Some(disk) => {
                let text = format!("disk '{}' is encrypted, and secrets are not known here", disk.target.dev);
                Err(PortError::new(Kind::Unsupported, text))
            }
        }
    }
    /// The UEFI variables of `document`, where a server has them.
    async fn served_variables(&self, document: &Domain) -> Result<Option<ServedLink>, PortError> {
        let kind = document.os.nvram.as_deref().and_then(|nvram| nvram.kind);
        if kind == Some(SourceKind::Network) {
            return Err(PortError::new(Kind::Unsupported, "variables that a server has are not known here"));
        }
        Ok(None)
    }
    /// A running guest was taken over from an earlier daemon: its disks are in use without a claim of ours.
    async fn adopt(&self, domain: DomainId, document: &Domain) -> Result<(), PortError>;
    /// Gives every lock of `domain` back.
    async fn release(&self, domain: DomainId) -> Result<(), PortError>;
    /// As [`Volumes::claim`] for the disks of `document`, beside what `domain` has already.
    async fn claim_more(&self, _domain: DomainId, _document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        Err(PortError::new(Kind::Unsupported, "disks cannot be plugged into a running guest here"))
    }
    /// Gives back the locks of `document`'s disks only.
    async fn release_some(&self, _domain: DomainId, _document: &Domain) -> Result<(), PortError> {
        Ok(())
    }
    /// Opens a file below a disk of `domain`'s for reading and writing: a block job is to change it. `overlays`: the
    /// disk's own files above it. Refused if anything else needs the file's bytes.
    async fn open_backing(
        &self,
        _domain: DomainId,
        _path: &std::path::Path,
        _overlays: &[PathBuf],
    ) -> Result<OwnedFd, PortError> {
        Err(PortError::new(Kind::Unsupported, "files below a running guest's disk cannot be written here"))
    }
    /// Makes the target of a copy, unless it is there, and locks and opens it for `domain`: the target first, then what
    /// it stands on.
    async fn take_copy(
        &self,
        _domain: DomainId,
        _name: &str,
        _copy: &CopyTarget,
    ) -> Result<Vec<ChainLink>, PortError> {
        Err(PortError::new(Kind::Unsupported, "a running guest's disk cannot be copied here"))
    }
    /// The one disk of `document` stood on the files of `before`, and stands on others now: the locks follow.
    async fn restack(
        &self,
        _domain: DomainId,
        _before: &[PathBuf],
        _document: &Domain,
    ) -> Result<(), PortError> {
        Ok(())
    }
    /// Deletes a file whose bytes are all in another one of the same disk's. Refused if anything else needs them; a
    /// missing file is no error.
    async fn delete_layer(&self, domain: DomainId, path: &std::path::Path) -> Result<(), PortError> {
        self.delete(domain, path).await
    }
    /// Gives back `domain`'s locks of these files, one each.
    async fn give_back(&self, _domain: DomainId, _paths: &[PathBuf]) -> Result<(), PortError> {
        Ok(())
    }
    /// Says of each disk whether its storage may be deleted with the domain.
    async fn storage_of(&self, domain: DomainId, document: &Domain) -> Result<Vec<DiskStorage>, PortError>;
    /// Refuses to write a file over what a guest, an image or another file needs.
    async fn refuse_overwrite(&self, _path: &std::path::Path) -> Result<(), PortError> {
        Ok(())
    }
    /// Deletes a volume that [`Volumes::storage_of`] let go. A missing file is no error.
    async fn delete(&self, domain: DomainId, path: &Path) -> Result<(), PortError>;
    /// The snapshots inside a qcow2 image.
    async fn image_snapshots(&self, _path: &Path) -> Result<Vec<ImageSnapshot>, PortError> {
        Err(no_snapshots())
    }
    /// Does something about the snapshot `name` inside a qcow2 image that no QEMU has. `keys`: files of its guest's that
    /// are encrypted.
    async fn snapshot_image(
        &self,
        _domain: DomainId,
        _verb: SnapshotVerb,
        _path: &Path,
        _name: &str,
        _keys: &[LockedFile],
    ) -> Result<(), PortError> {
        Err(no_snapshots())
    }
    /// Puts right what a snapshot inside a qcow2 left there when its QEMU ended amid it. No QEMU has the image.
    async fn mend_image(
        &self,
        _domain: DomainId,
        _path: &Path,
        _keys: &[LockedFile],
    ) -> Result<(), PortError> {
        Err(no_snapshots())
    }
    /// Makes a qcow2 that stands on another file and is empty itself. A file in its place must be empty.
    async fn create_overlay(&self, _new: &NewOverlay) -> Result<(), PortError> {
        Err(no_snapshots())
    }
    /// Why the bytes of `path` must stay for somebody besides `domain` (its definition, snapshots and disks), in a
    /// sentence about it: "volume '/p/a' stands on it". `going`: files that go or move in the same act.
    async fn needed_by(
        &self,
        _domain: DomainId,
        _path: &Path,
        _going: &[PathBuf],
    ) -> Result<Option<String>, PortError> {
        Err(no_snapshots())
    }
    /// Writes what is in `top` into the file it stands on, while no QEMU has either. May be done again.
    async fn commit_image(
        &self,
        _domain: DomainId,
        _top: &Path,
        _base: &Path,
        _keys: &[LockedFile],
    ) -> Result<(), PortError> {
        Err(no_snapshots())
    }
    /// Makes `path`, which stands on `from`, stand on another file with the same bytes, while no QEMU has it. What does
    /// not stand on `from` stays as it is.
    async fn rebase_image(
        &self,
        _path: &Path,
        _from: &Path,
        _backing: &Path,
        _format: &str,
        _keys: &[LockedFile],
    ) -> Result<(), PortError> {
        Err(no_snapshots())
    }
    /// Where the disks with these targets have their bytes, each place once: directories and block devices. Empty if
    /// a server has one of them.
    async fn places(&self, _document: &Domain, _targets: &[String]) -> Result<Vec<PathBuf>, PortError> {
        Ok(Vec::new())
    }
    /// The room of such a place. None: another look at it is on its way.
    async fn space(&self, _place: &Path) -> Result<Option<Space>, PortError> {
        Ok(None)
    }
}

fn no_snapshots() -> PortError {
    PortError::new(Kind::Unsupported, "snapshots of disks are not supported here")
}

/// A network card that is plugged in on the host's side. The default: one that has nothing there.
#[derive(Debug, Default)]
pub struct AttachedNic {
    /// The host's interface, as `vnet3`; none where QEMU itself or another program is the other end.
    pub ifname: Option<String>,
    /// The interface's queues.
    pub fds: Vec<OwnedFd>,
    /// The bridge of the network it is on, for the live document.
    pub bridge: Option<String>,
}

/// What a guest's card listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFilter {
    /// Its own address.
    pub mac: MacAddr,
    /// To all that there is.
    pub promiscuous: bool,
    /// To all groups.
    pub all_multicast: bool,
    /// To these groups.
    pub multicast: Vec<MacAddr>,
}

/// Network cards.
#[async_trait]
pub trait Nics: Send + Sync {
    /// Puts devices of the host's in the place of interfaces on networks that lend such, before they are claimed.
    async fn lend(&self, _domain: DomainId, _document: &mut Domain) -> Result<(), PortError> {
        Ok(())
    }
    /// Plugs every `<interface>` of `document` in, in the document's order. All or nothing.
    async fn attach(&self, domain: DomainId, document: &Domain) -> Result<Vec<AttachedNic>, PortError>;
    /// A running guest was taken over: `document` (live) names its interfaces; the bridge ports are theirs.
    async fn adopt(&self, domain: DomainId, document: &Domain) -> Result<(), PortError>;
    /// Plugs the `at`-th `<interface>` of `document` in, beside what `domain` has already.
    async fn attach_more(
        &self,
        _domain: DomainId,
        _document: &Domain,
        _at: usize,
    ) -> Result<AttachedNic, PortError> {
        Err(PortError::new(Kind::Unsupported, "interfaces cannot be plugged into a running guest here"))
    }
    /// The guest's card with this name on the host listens to something else now, and the host's end is to let it through.
    async fn follow(&self, _ifname: &str, _filter: &CardFilter) -> Result<(), PortError> {
        Ok(())
    }
    /// Limits what goes over the guest's card with this name on the host, in place of what limited it before.
    async fn limit(&self, _ifname: &str, _bandwidth: &Bandwidth) -> Result<(), PortError> {
        Err(PortError::new(Kind::Unsupported, "a running guest's cards cannot be limited here"))
    }
    /// Gives a card of a running guest the `<filterref>` that `card` has, in place of what it had; none: none.
    async fn filter(
        &self,
        _domain: DomainId,
        _document: &Domain,
        _card: &Interface,
    ) -> Result<(), PortError> {
        Err(PortError::new(Kind::Unsupported, "a running guest's cards cannot be filtered anew here"))
    }
    /// Unplugs the card with this name on the host.
    async fn detach_one(&self, _ifname: &str) -> Result<(), PortError> {
        Ok(())
    }
    /// Unplugs all of `domain`'s cards and removes what attaching made.
    async fn detach(&self, domain: DomainId) -> Result<(), PortError>;
}

/// A first-boot seed as a CD-ROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedDisk {
    /// The ISO image.
    pub path: PathBuf,
}

/// First-boot seeds (cloud-init).
#[async_trait]
pub trait Seeds: Send + Sync {
    /// Writes the seed of `domain`, if it has one, and says where it is.
    async fn write(&self, domain: DomainId, document: &Domain) -> Result<Option<SeedDisk>, PortError>;
    /// Removes what [`Seeds::write`] made for a run; what was asked for (user-data …) stays for the next start.
    async fn discard(&self, domain: DomainId) -> Result<(), PortError>;
    /// Which files would go with the domain.
    async fn files_of(&self, domain: DomainId) -> Result<Vec<PathBuf>, PortError>;
    /// The domain is gone: forgets everything of its seed.
    async fn forget(&self, domain: DomainId) -> Result<(), PortError>;
}

/// Values that only guests may have.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The value of a secret for TPMs, as a file in memory that is to be read from its beginning.
    async fn tpm_passphrase(&self, secret: Uuid) -> Result<OwnedFd, PortError>;
    /// The same of a secret that a key for TLS is opened with.
    async fn tls_passphrase(&self, secret: Uuid) -> Result<OwnedFd, PortError> {
        Err(PortError::new(Kind::Unsupported, format!("secret {secret}: secrets are not known here")))
    }
}

/// What [`crate::Domains`] is wired to.
#[derive(Clone)]
pub struct Ports {
    /// Disks.
    pub volumes: Arc<dyn Volumes>,
    /// Network cards.
    pub nics: Arc<dyn Nics>,
    /// First-boot seeds.
    pub seeds: Arc<dyn Seeds>,
    /// Passphrases.
    pub secrets: Arc<dyn Secrets>,
    /// The host's own devices.
    pub devices: Arc<dyn HostDevices>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}
