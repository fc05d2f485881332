//! New files above a guest's disks: what they are called, what they stand on, and the documents that name them.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::domain::disk::{BackingStore, Disk, DiskSource, ImageFormat, SourceKind};
use lodge_model::snapshot::{DomainSnapshot, Location, SnapshotDisk, SnapshotSort};
use lodge_model::xml::{Foreign, Kept};
use lodge_store::saga::{Context, Failure, Step};
use serde::{Deserialize, Serialize};

use super::{images, refuse};
use crate::define::blocking;
use crate::domains::Shared;
use crate::error::DomainError;
use crate::ports::NewOverlay;
use crate::start::{file_failure, remove_file};

/// A new file above a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overlay {
    pub target: String,
    pub path: PathBuf,
    /// What it stands on.
    pub backing: PathBuf,
    pub backing_format: String,
    /// How that is encrypted, as a text.
    #[serde(default)]
    pub backing_encryption: Option<String>,
    /// How it is encrypted itself.
    #[serde(default)]
    pub encryption: Option<String>,
    /// The number of its node in the running guest.
    #[serde(default)]
    pub node: u32,
}

/// Those that a snapshot wants above the disks of `domain`. `reuse`: they are there already.
pub(super) fn of(
    snapshot: &DomainSnapshot,
    domain: &Domain,
    reuse: bool,
) -> Result<Vec<Overlay>, DomainError> {
    let mut overlays = Vec::new();
    for (disk, own) in snapshot.disks().iter().zip(&domain.devices.disks) {
        if disk.location() != Location::External {
            continue;
        }
        let (Some(path), Some(backing)) = (disk.path(), own.path()) else {
            let text = format!("external snapshots are not supported on '{}' disks here", own.kind);
            return Err(refuse(SnapshotSort::ConfigUnsupported, text));
        };
        if overlays.iter().any(|other: &Overlay| other.path == Path::new(path)) {
            let text = format!("two disks cannot have the same snapshot file '{path}'");
            return Err(refuse(SnapshotSort::ConfigUnsupported, text));
        }
        refuse_wishes(disk)?;
        check_place(disk, Path::new(path), reuse)?;
        overlays.push(Overlay {
            target: disk.name().to_owned(),
            path: path.into(),
            backing: backing.into(),
            backing_format: own.format().to_owned(),
            backing_encryption: own.encryption_tree().map(|tree| tree.to_text()),
            // As with libvirt: what is not asked to be encrypted is not, whatever it stands on.
            encryption: disk.source.as_deref().and_then(encryption_of),
            node: 0,
        });
    }
    Ok(overlays)
}

/// What a document may ask of a new file and a disk would not keep.
fn refuse_wishes(disk: &SnapshotDisk) -> Result<(), DomainError> {
    let has =
        |foreign: Option<&Foreign>, name: &str| foreign.is_some_and(|foreign| foreign.tree(name).is_some());
    let source = disk.source.as_deref();
    let wishes = [
        ("slices", has(source.map(|source| &source.foreign), "slices")),
        ("seclabel", source.is_some_and(|source| !source.seclabels.is_empty())),
        ("metadata_cache", has(disk.driver.as_ref().map(|driver| &driver.foreign), "metadata_cache")),
    ];
    let Some((name, _)) = wishes.into_iter().find(|(_, is_there)| *is_there) else { return Ok(()) };
    let text = format!("<{name}> of the snapshot's file of disk '{}' is not supported yet", disk.name());
    Err(refuse(SnapshotSort::ConfigUnsupported, text))
}

/// Files that a disk may stand on, its own one too. A document nests them, and is read to a depth of 128 elements: a
/// guest with more could not be read again. What a chain has below its document's needs room as well.
const LAYERS_MAX: usize = 100;

/// Refuses new files above disks that stand on as many as there may be.
pub(super) fn refuse_deep(document: &Domain, overlays: &[Overlay]) -> Result<(), DomainError> {
    for overlay in overlays {
        let disk = document.devices.disks.iter().find(|disk| disk.target.dev == overlay.target);
        let below = disk.and_then(|disk| disk.backing_store.as_deref());
        let below = std::iter::successors(below, |store| store.backing_store.as_deref());
        if 2 + below.filter(|store| store.source.is_some()).count() > LAYERS_MAX {
            let text = format!(
                "backing chains more than {LAYERS_MAX} layers deep are not supported: disk '{}' has as many; delete a \
                 snapshot, or merge some of its files (blockcommit, lodge chain commit)",
                overlay.target
            );
            return Err(refuse(SnapshotSort::Unsupported, text));
        }
    }
    Ok(())
}

/// How a new file is to be encrypted, if it is.
fn encryption_of(source: &DiskSource) -> Option<String> {
    let mut tree = source.encryption_tree()?;
    if tree.attribute("format") == Some("luks") && tree.attribute("engine").is_none() {
        tree.set_attribute("engine", Some("qemu".to_owned()));
    }
    Some(tree.to_text())
}

/// Whether the file can be made there, or is there to be used.
fn check_place(disk: &SnapshotDisk, path: &Path, reuse: bool) -> Result<(), DomainError> {
    let name = disk.name();
    let unsupported = |text: String| Err(refuse(SnapshotSort::ConfigUnsupported, text));
    let is_block = disk.kind == Some(SourceKind::Block);
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !reuse => {
            if is_block {
                let text = format!("block device snapshot target '{}' doesn't exist", path.display());
                return Err(refuse(SnapshotSort::Unsupported, text));
            }
            Ok(())
        }
        Err(error) => {
            let what = if reuse { "missing existing file" } else { "unable to stat" };
            let text = format!("{what} for disk {name}: {}", path.display());
            let errno = error.raw_os_error().unwrap_or_default();
            let strerror = rustix::io::Errno::from_raw_os_error(errno).to_string();
            let words = strerror.split(" (os error").next().unwrap_or_default().to_owned();
            let sort = crate::control::Sort::System(errno);
            Err(crate::control::Refusal::new(sort, format!("{text}: {words}")).into())
        }
        Ok(there) if is_block || !there.is_file() => {
            if is_block {
                return unsupported(format!(
                    "block devices as snapshot files are not supported yet: {}",
                    path.display()
                ));
            }
            unsupported(format!(
                "mismatch between configured type for snapshot disk '{name}' and the type of existing file '{}'",
                path.display()
            ))
        }
        Ok(there) if !reuse && there.len() > 0 => unsupported(format!(
            "external snapshot file for disk {name} already exists and is not a block device: {}",
            path.display()
        )),
        Ok(_) => Ok(()),
    }
}

/// Puts the new files into a document: each disk's own file becomes what its new one stands on. `live`: with the
/// nodes' numbers.
pub(super) fn put_in(document: &mut Domain, overlays: &[Overlay], live: bool) {
    for overlay in overlays {
        let disk = document.devices.disks.iter_mut().find(|disk| disk.target.dev == overlay.target);
        let Some(disk) = disk else { continue };
        if disk.path() == overlay.path.to_str() {
            continue;
        }
        let index = disk.source.as_deref().and_then(|source| source.index);
        let encryption = disk.encryption_tree();
        let mut below = disk.source.take();
        if let Some(below) = below.as_deref_mut() {
            (below.index, below.startup_policy) = (None, None);
            below.set_encryption(encryption.as_ref());
        }
        let below = BackingStore {
            kind: Some(disk.kind),
            index,
            format: Some(ImageFormat { kind: overlay.backing_format.clone(), ..ImageFormat::default() }),
            source: below,
            backing_store: disk.backing_store.take(),
            ..BackingStore::default()
        };
        disk.backing_store = Some(Box::new(below));
        set_file(disk, &overlay.path, live.then_some(overlay.node));
        disk.set_encryption(overlay.own_encryption().as_ref());
    }
}

impl Overlay {
    /// How it is encrypted.
    pub fn own_encryption(&self) -> Option<Kept> {
        self.encryption.as_deref().and_then(Kept::parse)
    }
}

/// The disk's own file, a qcow2.
pub(super) fn set_file(disk: &mut Disk, path: &Path, index: Option<u32>) {
    disk.kind = SourceKind::File;
    let source = disk.source.get_or_insert_default();
    (source.file, source.dev, source.index) = (Some(path.display().to_string()), None, index);
    let driver = disk.driver.get_or_insert_default();
    driver.name.get_or_insert_with(|| "qemu".to_owned());
    driver.format = Some("qcow2".to_owned());
}

/// A saga that makes such files.
pub(super) trait HasOverlays: Context + Sync {
    fn shared(&self) -> &Shared;
    /// Those to make; none where they are there already.
    fn to_make(&self) -> &[Overlay];
    /// The places where something was found that came since it was looked whether they are free.
    fn taken(&mut self) -> &mut Vec<PathBuf>;
}

/// Makes them.
pub(super) struct MakeOverlays;

#[async_trait]
impl<C: HasOverlays> Step<C> for MakeOverlays {
    fn name(&self) -> &'static str {
        "make-files"
    }

    async fn run(&self, context: &mut C) -> Result<(), Failure> {
        for overlay in context.to_make().to_vec() {
            let new = NewOverlay {
                path: overlay.path.clone(),
                backing: overlay.backing.clone(),
                format: overlay.backing_format.clone(),
                is_on_locked: overlay.backing_encryption.is_some(),
                encryption: overlay.encryption.clone(),
            };
            let made = context.shared().ports.volumes.create_overlay(&new).await;
            if let Err(error) = made {
                if error.kind == lodge_model::Kind::Exists {
                    context.taken().push(overlay.path);
                }
                return Err(images::failure(&error));
            }
        }
        Ok(())
    }

    async fn undo(&self, context: &mut C) -> Result<(), Failure> {
        // They were not there before, or empty; and nothing was written into them since. What somebody else put there
        // meanwhile stays.
        let taken = context.taken().clone();
        for overlay in context.to_make().iter().filter(|overlay| !taken.contains(&overlay.path)) {
            let path = overlay.path.clone();
            remove_file(path.clone()).await.map_err(|error| file_failure("remove", &path, &error))?;
            let dir = path.parent().map(Path::to_owned);
            if let Some(dir) = dir {
                let _ = blocking(move || lodge_sys::fs::sync_dir(&dir)).await;
            }
        }
        Ok(())
    }
}
