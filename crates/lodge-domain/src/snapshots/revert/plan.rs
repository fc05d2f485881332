//! What a revert would do, and whether it may.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lodge_model::domain::Domain;
use lodge_model::domain::disk::Disk;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{
    Defaults, DomainSnapshot, Location, SnapshotDisk, SnapshotDisks, SnapshotSort, SnapshotState,
};

use super::super::overlay::{self, Overlay};
use super::super::records::Records;
use super::super::{delete, images, keys, refuse};
use super::steps::{Launching, Plan};
use crate::define::{blocking, parse_inactive};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::options::SnapshotRevertOptions;
use crate::record::unix_ms;
use crate::start::SavedMemory;

/// The plan, and how things are once it is done.
pub(super) struct Planned {
    pub plan: Plan,
    pub tree: SnapshotTree,
    pub definition: Option<Domain>,
    /// Files that the guest wrote until now and that nothing names afterwards.
    pub left: Vec<PathBuf>,
}

/// Plans the revert; refuses what would change bytes that anything else needs.
pub(super) async fn make(
    shared: &Arc<Shared>,
    entry: &Entry,
    tree: &SnapshotTree,
    snapshot: &DomainSnapshot,
    options: SnapshotRevertOptions,
    transient: bool,
) -> Result<Planned, DomainError> {
    let name = entry.name();
    let named = |domain: &Domain| Domain { name: name.to_string(), ..domain.clone() };
    let mut document = snapshot.domain.as_deref().map(named).unwrap_or_default();
    let mut definition = snapshot.definition().map(named).unwrap_or_default();
    let before = parse_inactive(entry)?;
    let mut new = tree.clone();
    let (mut overlays, mut inner, mut left) = (Vec::new(), Vec::new(), Vec::new());
    if snapshot.is_external() {
        let frozen = left_out_and_frozen(tree, snapshot, &document);
        let disks = fresh_files(&document, snapshot, &frozen).await?;
        overlays = overlays_of(&disks, &document);
        overlay::put_in(&mut document, &overlays, false);
        overlay::put_in(&mut definition, &overlays, false);
        remember(&mut new, snapshot, disks);
        left = files_left(tree, before.as_ref());
        left.retain(|path| delete::own_need(&new, std::iter::once(&definition), path).is_none());
    } else {
        inner = images::of(snapshot, &document)?;
        refuse_frozen(shared, entry, tree, snapshot, &inner).await?;
    }
    let mut loaded = Vec::new();
    if snapshot.state().is_online() {
        // QEMU goes back itself, with the memory.
        loaded = std::mem::take(&mut inner);
        loaded.extend(images::variables(&document));
    } else if !snapshot.is_external() {
        let having = images::having(shared, &inner, snapshot.name()).await;
        let having = having.map_err(|source| DomainError::Port {
            act: "look into the disks",
            name: Arc::clone(&name),
            source,
        })?;
        refuse_missing(&inner, &having, snapshot)?;
        if let Some(variables) = images::variables(&document) {
            let one = std::slice::from_ref(&variables);
            let having = images::having(shared, one, snapshot.name()).await;
            // A snapshot that was taken before there were any has none inside.
            inner.extend(having.map_err(|source| DomainError::Port {
                act: "look into the UEFI variables",
                name: Arc::clone(&name),
                source,
            })?);
        }
    }
    let current = new.current().filter(|current| current.name() != snapshot.name()).cloned();
    if let Some(current) = current.filter(|current| current.revert_disks.is_some()) {
        new.insert(DomainSnapshot { revert_disks: None, ..DomainSnapshot::clone(&current) });
    }
    new.set_current(Some(snapshot.name()));
    let mut records = Records::between(&name, tree, &new);
    let kept = (!transient).then_some(&definition);
    if let (Some(before), Some(after)) = (&before, kept) {
        records = records.with_definition(before, after);
    }
    let plan = Plan {
        name: name.to_string(),
        records,
        overlays,
        images: inner,
        loaded,
        keys: keys::of([&document]),
        snapshot: snapshot.name().to_owned(),
        launch: launching(snapshot, &document, options, transient),
    };
    Ok(Planned { plan, tree: new, definition: kept.cloned(), left })
}

fn launching(
    snapshot: &DomainSnapshot,
    document: &Domain,
    options: SnapshotRevertOptions,
    transient: bool,
) -> Option<Launching> {
    let state = snapshot.state();
    if !(state.is_online() || options.running || options.paused) {
        return None;
    }
    let paused = !options.running && (options.paused || state == SnapshotState::Paused);
    let memory = snapshot.memory_file().filter(|_| state.is_online()).map(|file| SavedMemory {
        file: file.into(),
        managed: false,
        bypass_cache: false,
    });
    let inside = (state.is_online() && snapshot.memory() == Location::Internal).then(|| {
        let disks = snapshot.disks().iter().filter(|disk| disk.location() == Location::Internal);
        (snapshot.name().to_owned(), disks.map(|disk| disk.name().to_owned()).collect())
    });
    let xml = document.to_xml(&lodge_model::xml::WriteOptions::STORED);
    Some(Launching { xml, paused, memory, inside, transient, reset_nvram: options.reset_nvram })
}

/// Disks that the snapshot left out, whose file another one froze since: what the guest writes next must not go there.
fn left_out_and_frozen(tree: &SnapshotTree, snapshot: &DomainSnapshot, document: &Domain) -> Vec<String> {
    let writes = |own: &Disk| !own.readonly && !own.transient && !own.shareable;
    let is_left_out = |disk: &SnapshotDisk| matches!(disk.location(), Location::No | Location::Manual);
    let disks = snapshot.disks().iter().zip(&document.devices.disks);
    let frozen = disks.filter(|(disk, own)| {
        is_left_out(disk)
            && writes(own)
            && own.path().is_some_and(|path| {
                let mut others = tree.all().filter(|other| other.name() != snapshot.name());
                others.any(|other| froze(other, Path::new(path)))
            })
    });
    frozen.map(|(disk, _)| disk.name().to_owned()).collect()
}

/// Whether the snapshot is the file as it stands.
fn froze(snapshot: &DomainSnapshot, file: &Path) -> bool {
    let Some(domain) = snapshot.domain.as_deref() else { return false };
    snapshot
        .disks()
        .iter()
        .zip(&domain.devices.disks)
        .any(|(disk, own)| disk.location() == Location::External && own.path().map(Path::new) == Some(file))
}

/// New files above what the snapshot froze, and above the disks named in `frozen`, none of which is there yet.
async fn fresh_files(
    document: &Domain,
    snapshot: &DomainSnapshot,
    frozen: &[String],
) -> Result<Vec<SnapshotDisk>, DomainError> {
    let (document, disks, frozen) = (document.clone(), snapshot.disks().to_vec(), frozen.to_vec());
    let now = i64::try_from(unix_ms(SystemTime::now()) / 1000).unwrap_or_default();
    blocking(move || {
        let is_file = |path: &std::path::Path| path.is_file();
        let mut last = None;
        for stamp in now..now + 100 {
            let mut fresh = DomainSnapshot::default();
            fresh.complete(stamp);
            let wanted = disks.iter().map(|disk| {
                let location = match disk.location() {
                    Location::External => Location::External,
                    _ if frozen.iter().any(|name| name == disk.name()) => Location::External,
                    _ => Location::No,
                };
                SnapshotDisk::new(disk.name(), location)
            });
            fresh.disks = Some(SnapshotDisks { disks: wanted.collect(), ..SnapshotDisks::default() });
            fresh.align(
                &document,
                Defaults { location: Location::External, uniform: false, is_file: &is_file },
            )?;
            let taken =
                |disk: &SnapshotDisk| disk.path().is_some_and(|path| std::path::Path::new(path).exists());
            if !fresh.disks().iter().any(taken) {
                return Ok(fresh.disks().to_vec());
            }
            last = fresh.disks().iter().find_map(|disk| disk.path().map(str::to_owned));
        }
        let text = format!("no name is free for a new file, such as '{}'", last.unwrap_or_default());
        Err(refuse(SnapshotSort::ConfigUnsupported, text))
    })
    .await
}

fn overlays_of(disks: &[SnapshotDisk], document: &Domain) -> Vec<Overlay> {
    let of = |(disk, own): (&SnapshotDisk, &Disk)| {
        (disk.location() == Location::External).then_some(())?;
        Some(Overlay {
            target: disk.name().to_owned(),
            path: disk.path()?.into(),
            backing: own.path()?.into(),
            backing_format: own.format().to_owned(),
            backing_encryption: own.encryption_tree().map(|tree| tree.to_text()),
            encryption: None,
            node: 0,
        })
    };
    disks.iter().zip(&document.devices.disks).filter_map(of).collect()
}

/// The files the guest writes now, made by a snapshot or by a revert: nothing names them after this revert.
fn files_left(tree: &SnapshotTree, definition: Option<&Domain>) -> Vec<PathBuf> {
    let (Some(current), Some(definition)) = (tree.current(), definition) else { return Vec::new() };
    let made = current.revert_disks.as_ref().map_or(current.disks(), |disks| &disks.disks);
    let own = |path: &str| definition.devices.disks.iter().any(|disk| disk.path() == Some(path));
    let files = made.iter().filter(|disk| disk.location() == Location::External);
    files.filter_map(|disk| disk.path()).filter(|path| own(path)).map(PathBuf::from).collect()
}

/// The snapshot reverted to tells which files the guest writes since.
fn remember(tree: &mut SnapshotTree, snapshot: &DomainSnapshot, disks: Vec<SnapshotDisk>) {
    let mut changed = snapshot.clone();
    let disks = Some(SnapshotDisks { disks, ..SnapshotDisks::default() });
    if tree.children(Some(snapshot.name())).is_empty() {
        changed.disks = disks;
    } else {
        changed.revert_disks = disks;
    }
    let current = tree.current().map(|current| current.name().to_owned());
    tree.insert(changed);
    tree.set_current(current.as_deref());
}

/// Going back inside an image changes its bytes: nobody else may stand on them.
async fn refuse_frozen(
    shared: &Arc<Shared>,
    entry: &Entry,
    tree: &SnapshotTree,
    snapshot: &DomainSnapshot,
    images: &[PathBuf],
) -> Result<(), DomainError> {
    let needed = |image: &PathBuf, why: String| {
        let text = format!(
            "cannot revert to snapshot '{}': '{}' has to stay as it is, since {why}; nothing was changed",
            snapshot.name(),
            image.display()
        );
        refuse(SnapshotSort::Invalid, text)
    };
    for image in images {
        if let Some(other) = tree.all().find(|other| froze(other, image)) {
            return Err(needed(image, format!("snapshot '{}' is it", other.name())));
        }
        let asked = shared.ports.volumes.needed_by(entry.id, image, &[]).await;
        let asked = asked.map_err(|source| DomainError::Port {
            act: "look at the disks",
            name: entry.name(),
            source,
        })?;
        if let Some(why) = asked {
            return Err(needed(image, why));
        }
    }
    Ok(())
}

fn refuse_missing(
    images: &[PathBuf],
    having: &[PathBuf],
    snapshot: &DomainSnapshot,
) -> Result<(), DomainError> {
    let Some(at) = images.iter().position(|image| !having.contains(image)) else { return Ok(()) };
    let internal = snapshot.disks().iter().filter(|disk| disk.location() == Location::Internal);
    let disk = internal.map(SnapshotDisk::name).nth(at).unwrap_or_default();
    let text = format!("image of disk '{disk}' does not have internal snapshot '{}'", snapshot.name());
    Err(refuse(SnapshotSort::Invalid, text))
}
