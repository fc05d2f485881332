//! `<transient/>` disks: what the guest writes goes into a qcow2 of its own above the disk's file, and is gone with the
//! run. That file has libvirt's name, `FILE.TRANSIENT-NAME`, and the document of the run names it, as libvirt's does;
//! the definition does not change.
//!
//! ```text
//!  choose (noted with the saga) ▶ make, with the claim ▶ note in the run-time directory ▶ the run ▶ forget
//! ```
//!
//! Whoever takes a run's directory away removes the files that are noted there first; so they go at the guest's end,
//! also where the daemon or QEMU died. One that a power failure left is made anew by the next start.
//! Deliberately absent: the guest's disk as it is on the way back from saved memory; a save is refused (`save.rs`).

use std::path::{Path, PathBuf};

use lodge_model::domain::Domain;
use lodge_model::domain::disk::{BackingStore, Disk, DiskDevice, DiskSource, ImageFormat, SourceKind};
use lodge_model::xml::{Foreign, ForeignItem};
use lodge_model::{DomainId, Kind};
use lodge_store::saga::Failure;
use serde::{Deserialize, Serialize};

use super::steps::Launch;
use super::{file_failure, remove_file};
use crate::define::blocking;
use crate::domains::Shared;
use crate::ports::NewOverlay;
use crate::record::replace;

/// The note of a run's files.
const NOTE: &str = "transient.json";

/// A file that lives as long as a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passing {
    pub path: PathBuf,
    /// What it stands on.
    pub backing: PathBuf,
    pub backing_format: String,
    /// How that is encrypted, as a text; so is the file.
    #[serde(default)]
    pub encryption: Option<String>,
}

/// The files of a run, put into its document.
pub(super) fn choose(launch: &mut Launch) -> Result<Vec<Passing>, Failure> {
    let name = launch.plan.name.clone();
    let disks = launch.document.devices.disks.iter_mut().filter(|disk| disk.transient);
    disks.map(|disk| put_in(disk, &name)).collect()
}

fn put_in(disk: &mut Disk, name: &str) -> Result<Passing, Failure> {
    let target = &disk.target.dev;
    let refuse = |text: String| Err(Failure::new(Kind::Unsupported, text));
    if disk.device != DiskDevice::Disk {
        return refuse(format!("transient disk supported only with 'disk' device ({target})"));
    }
    if disk.readonly {
        return refuse(format!("transient disk '{target}' must not be read-only"));
    }
    let Some(source) = disk.source.take() else {
        return refuse(format!("transient disk '{target}' must not be empty"));
    };
    let file = source.file.as_deref().filter(|_| disk.kind == SourceKind::File);
    let Some(backing) = file.map(PathBuf::from) else {
        return refuse(format!("transient disk supported only with 'file' type ({target})"));
    };
    if source.foreign.tree("slices").is_some() {
        return refuse(format!(
            "transient disk '{target}' is a part of a file (<slices>), which has nothing above it"
        ));
    }
    let format = disk.format().to_owned();
    // What the guest writes meanwhile is as secret as what lies below. Both say it at the place where the document does.
    let encryption = disk.encryption.tree("encryption").or_else(|| source.encryption_tree());
    let (of_disk, of_source) = (encryption_of(&disk.encryption), encryption_of(&source.foreign));
    let mut below = DiskSource { startup_policy: None, ..*source };
    if let (Some(item), None) = (of_disk, &of_source) {
        below.foreign.push(item);
    }
    let path = PathBuf::from(format!("{}.TRANSIENT-{name}", backing.display()));
    let mut above = DiskSource { file: Some(path.display().to_string()), ..DiskSource::default() };
    if let Some(item) = of_source {
        above.foreign.push(item);
    }
    disk.backing_store = Some(Box::new(BackingStore {
        kind: Some(SourceKind::File),
        format: Some(ImageFormat { kind: format.clone(), ..ImageFormat::default() }),
        source: Some(Box::new(below)),
        backing_store: disk.backing_store.take(),
        ..BackingStore::default()
    }));
    disk.source = Some(Box::new(above));
    disk.driver.get_or_insert_default().format = Some("qcow2".to_owned());
    let encryption = encryption.map(|tree| tree.to_text());
    Ok(Passing { path, backing, backing_format: format, encryption })
}

/// `<encryption>`, with where it stood in the document.
fn encryption_of(foreign: &Foreign) -> Option<ForeignItem> {
    let is_it =
        |item: &&ForeignItem| matches!(item, ForeignItem::Element { name, .. } if **name == *"encryption");
    foreign.items().iter().find(is_it).cloned()
}

/// Makes them, empty. One that is there is of a run that was cut off, or nobody's of ours: that is refused.
pub(super) async fn make(shared: &Shared, files: &[Passing]) -> Result<(), Failure> {
    for file in files {
        let Passing { path, .. } = file;
        if is_there(path).await {
            // What an earlier run left in it goes.
            overlay(shared, file).await?;
            remove_file(path.clone()).await.map_err(|error| file_failure("remove", path, &error))?;
        }
        overlay(shared, file).await?;
    }
    Ok(())
}

async fn is_there(path: &Path) -> bool {
    let path = path.to_owned();
    blocking(move || path.symlink_metadata().is_ok()).await
}

/// Makes the file, or finds it as it is to be; one that is there and stands on anything else is told.
async fn overlay(shared: &Shared, file: &Passing) -> Result<(), Failure> {
    let Passing { path, backing, backing_format, encryption } = file;
    let new = NewOverlay {
        path: path.clone(),
        backing: backing.clone(),
        format: backing_format.clone(),
        is_on_locked: encryption.is_some(),
        encryption: encryption.clone(),
    };
    let made = shared.ports.volumes.create_overlay(&new).await;
    made.map_err(|error| super::steps::refused(&error))
}

/// Notes them where the run is, before QEMU has them.
pub(super) fn note(dir: &Path, files: &[Passing]) -> Result<(), Failure> {
    if files.is_empty() {
        return Ok(());
    }
    let paths: Vec<&PathBuf> = files.iter().map(|file| &file.path).collect();
    let text = serde_json::to_vec(&paths).expect("a list of texts");
    let path = dir.join(NOTE);
    replace(&path, &text).map_err(|error| file_failure("write", &path, &error))
}

/// Removes the files of a start that is taken back. One that is not of ours was why it failed, and stays.
pub(super) async fn remove(shared: &Shared, id: DomainId, files: &[Passing]) {
    for file in files {
        if is_there(&file.path).await && overlay(shared, file).await.is_ok() {
            remove_one(shared, id, &file.path).await;
        }
    }
}

/// Removes the files of the run in `dir`, which has ended.
pub(crate) async fn forget(shared: &Shared, id: DomainId, dir: &Path) {
    let note = dir.join(NOTE);
    let Ok(text) = blocking(move || std::fs::read(note)).await else { return };
    for path in serde_json::from_slice::<Vec<PathBuf>>(&text).unwrap_or_default() {
        remove_one(shared, id, &path).await;
    }
}

async fn remove_one(shared: &Shared, id: DomainId, path: &Path) {
    // By the pool that it lies in, so that it is not listed any longer. Of what is in no pool, and where anything
    // claims to need it: nobody can, its guest has ended.
    let told = shared.ports.volumes.delete(id, path).await;
    if let Err(error) = remove_file(path.to_owned()).await {
        tracing::error!(domain = %id, file = %path.display(), %error, ?told, "a transient disk's file was not removed");
    }
}

/// Refuses to keep what a transient disk's guest has in its memory: its disk would be another one.
pub(crate) fn refuse(document: &Domain) -> Result<(), crate::control::Refusal> {
    if document.devices.disks.iter().any(|disk| disk.transient) {
        return Err(crate::control::Refusal::unsupported("migration with transient disk is not supported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(xml: &str) -> Disk {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><disk {xml}<target dev='vda'/><transient/></disk></devices></domain>"
        );
        Domain::parse(&text).unwrap().devices.disks.remove(0)
    }

    #[test]
    fn the_run_writes_above_the_disks_own_file() {
        let mut disk = disk(
            "type='file'><driver name='qemu' type='raw' cache='none'/><source file='/p/a' startupPolicy='optional'/>",
        );
        let passing = put_in(&mut disk, "web").unwrap();
        assert_eq!(passing.path, Path::new("/p/a.TRANSIENT-web"));
        assert_eq!((passing.backing.as_path(), passing.backing_format.as_str()), (Path::new("/p/a"), "raw"));
        assert_eq!((disk.path(), disk.format()), (Some("/p/a.TRANSIENT-web"), "qcow2"));
        let below = disk.backing_store.unwrap();
        let below = (below.source.unwrap(), below.format.unwrap().kind);
        assert_eq!(
            (below.0.file.as_deref(), below.0.startup_policy, below.1.as_str()),
            (Some("/p/a"), None, "raw")
        );
    }

    #[test]
    fn what_is_written_above_an_encrypted_disk_is_encrypted_as_it_is() {
        let encryption = "<encryption format='luks'><secret type='passphrase' usage='u'/></encryption>";
        for text in [
            format!("type='file'><source file='/p/a'/>{encryption}"),
            format!("type='file'><source file='/p/a'>{encryption}</source>"),
        ] {
            let mut disk = disk(&text);
            let passing = put_in(&mut disk, "web").unwrap();
            assert!(passing.encryption.is_some_and(|text| text.contains("usage='u'")));
            let trees = disk.encryption_trees();
            assert!(trees.len() == 2 && trees.iter().all(Option::is_some), "{trees:?}");
        }
    }

    #[test]
    fn what_has_nothing_above_it_is_refused_in_libvirts_words() {
        let told = |xml: &str| put_in(&mut disk(xml), "web").unwrap_err().message;
        assert_eq!(
            told("type='block'><source dev='/dev/a'/>"),
            "transient disk supported only with 'file' type (vda)"
        );
        assert_eq!(told("type='file'><readonly/>"), "transient disk 'vda' must not be read-only");
        assert_eq!(told("type='file'>"), "transient disk 'vda' must not be empty");
    }
}
