//! Which file a guest's disk was: so that one moved or copied with plain `mv` and `cp` is noticed, told, and found again.
//!
//! While a guest is off, its disks' identities (device, inode, a short print of the bytes) are noted in the database.
//! A disk that is gone is looked for by them among the pools' files. It is never followed by itself: a copy is another
//! disk until somebody says that it is the one.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use lodge_model::DomainId;
use lodge_store::db::disks::DiskIdentity;

use crate::{
    Finding, FindingKind, Storage,
    error::StorageError,
    file::FileId,
    graph::{Graph, Key, Node, SeenFile, need::Need},
    limits,
    ports::Part,
};

/// Bytes read at the start, in the middle and at the end.
const PART_BYTES: usize = 64 << 10;

/// Where disks are that were elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    moved: Vec<Moved>,
    replaced: Vec<(String, String, PathBuf)>,
}

/// A guest's disk that lies elsewhere now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The guest's UUID.
    pub id: DomainId,
    /// The guest.
    pub guest: String,
    /// The disk's target.
    pub target: String,
    /// Where the definition says it is.
    pub from: PathBuf,
    /// Where it is.
    pub to: PathBuf,
    /// It is the very file; else another with the same bytes.
    pub is_same_file: bool,
}

impl Moves {
    /// Where the file of a path is now.
    pub fn of_path(&self, path: &Path) -> Option<&Path> {
        self.moved.iter().find(|moved| moved.from == path).map(|moved| moved.to.as_path())
    }

    /// A guest's disk lies there now, though no definition says so yet.
    pub fn leads_to(&self, path: &Path) -> bool {
        self.moved.iter().any(|moved| moved.to == path)
    }

    pub fn findings(&self) -> Vec<Finding> {
        let moved = self.moved.iter().map(|moved| {
            let how = if moved.is_same_file { "is it" } else { "seems to be it: the bytes are the same" };
            let why = format!(
                "disk {} of domain '{}' is not there; `{}` {how}",
                moved.target,
                moved.guest,
                moved.to.display()
            );
            let repair = format!("take the new place over: lodge files {} --relocate", moved.guest);
            Finding::new(FindingKind::Moved, &moved.from, &moved.target, why, repair)
        });
        let replaced = self.replaced.iter().map(|(guest, target, path)| {
            let why = format!(
                "disk {target} of domain '{guest}' is another file than it was when the guest was last seen"
            );
            let repair = format!("if that was meant: lodge files {guest} --relocate");
            Finding::new(FindingKind::Replaced, path, target, why, repair)
        });
        moved.chain(replaced).collect()
    }
}

impl Storage {
    /// Notes what the disks of guests that are off are now. A disk that is another file than noted keeps its note:
    /// somebody has to say that it is meant.
    pub async fn note_disks(&self) -> Result<(), StorageError> {
        self.note_disks_of(None).await
    }

    /// As [`Storage::note_disks`], and for `meant` whatever its disks are now.
    pub async fn note_disks_of(&self, meant: Option<DomainId>) -> Result<(), StorageError> {
        let graph = self.graph(&[]).await?;
        let known = self.identities().await?;
        let mut fresh = Vec::new();
        let mut guests = Vec::new();
        for (key, node) in graph.nodes() {
            let Key::File(id) = key else { continue };
            let runs = node.needs.iter().any(|need| matches!(need, Need::Running { .. } | Need::Act { .. }));
            for (guest, target, path) in disks_of(node) {
                guests.push(guest.to_string());
                let noted = known.get(&(guest.to_string(), target.clone()));
                let is_same_file = noted.is_none_or(|noted| same_file(noted, *id));
                let is_new_place = noted.is_some_and(|noted| noted.path != path);
                if runs || !(is_same_file || is_new_place || meant == Some(guest)) {
                    continue;
                }
                let content = self.print(path.clone(), node.seen.as_ref()).await;
                let note = DiskIdentity {
                    guest: guest.to_string(),
                    target,
                    path,
                    device: id.device,
                    inode: id.inode,
                    content: content.unwrap_or_default(),
                };
                if noted != Some(&note) {
                    fresh.push(note);
                }
            }
        }
        for (key, node) in graph.nodes() {
            if matches!(key, Key::Gone(_)) {
                guests.extend(disks_of(node).into_iter().map(|(guest, ..)| guest.to_string()));
            }
        }
        let failed = |source| StorageError::Registry { act: "note the disks", source };
        if !fresh.is_empty() {
            self.db().put_disk_identities(fresh).await.map_err(failed)?;
        }
        self.db().keep_disk_identities(guests).await.map_err(failed)
    }

    /// The disks of a guest that lie elsewhere now.
    pub async fn moved_disks(&self, guest: DomainId) -> Result<Vec<Moved>, StorageError> {
        let graph = self.graph(&[]).await?;
        let moves = self.moves(&graph).await?;
        Ok(moves.moved.into_iter().filter(|moved| moved.id == guest).collect())
    }

    pub(crate) async fn moves(&self, graph: &Graph) -> Result<Moves, StorageError> {
        let known = self.identities().await?;
        let mut moves = Moves::default();
        for (key, node) in graph.nodes() {
            for need in &node.needs {
                let Need::Defined { guest, id, part: Part::Disk(target), .. } = need else { continue };
                let Some(noted) = known.get(&(id.to_string(), target.clone())) else { continue };
                let Some(path) = node.paths.iter().find(|path| **path == noted.path) else { continue };
                match key {
                    Key::Gone(_) => {
                        let Some((to, is_same_file)) = self.find(graph, noted).await else { continue };
                        let (guest, target, from) = (guest.to_string(), target.clone(), path.clone());
                        moves.moved.push(Moved { id: *id, guest, target, from, to, is_same_file });
                    }
                    Key::File(file) if !same_file(noted, *file) => {
                        let now = self.print(path.clone(), node.seen.as_ref()).await;
                        if now.is_some_and(|now| now != noted.content) {
                            moves.replaced.push((guest.to_string(), target.clone(), path.clone()));
                        }
                    }
                    Key::File(_) => {}
                }
            }
        }
        Ok(moves)
    }

    /// The file that a disk is now: by its inode, else by its bytes.
    async fn find(&self, graph: &Graph, noted: &DiskIdentity) -> Option<(PathBuf, bool)> {
        let id = FileId { device: noted.device, inode: noted.inode };
        let free = |node: &&Node| !node.needs.iter().any(|need| matches!(need, Need::Defined { .. }));
        if let Some(seen) = graph.get(&Key::File(id)).filter(free).and_then(|node| node.seen.as_ref()) {
            // An inode is used again by other files.
            let now = self.print(seen.path.clone(), Some(seen)).await;
            if now.as_deref() == Some(noted.content.as_str()) {
                return Some((seen.path.clone(), true));
            }
        }
        let length = noted.content.split_once(':')?.0;
        let alike = graph.nodes().map(|(_, node)| node).filter(free).filter_map(|node| node.seen.as_ref());
        let mut alike: Vec<_> = alike.filter(|seen| seen.length.to_string() == length).collect();
        alike.sort_by(|one, other| one.path.cmp(&other.path));
        for seen in alike {
            if self.print(seen.path.clone(), Some(seen)).await.as_deref() == Some(noted.content.as_str()) {
                return Some((seen.path.clone(), false));
            }
        }
        None
    }

    /// Forgets which file a path was: an act of ours made it another.
    pub(crate) async fn forget_identity(&self, path: &Path) {
        if let Err(error) = self.db().forget_disk_file(path).await {
            tracing::warn!(path = %path.display(), %error, "the disk's identity is not forgotten");
        }
    }

    async fn identities(&self) -> Result<HashMap<(String, String), DiskIdentity>, StorageError> {
        let failed = |source| StorageError::Registry { act: "read what disks were", source };
        let all = self.db().disk_identities().await.map_err(failed)?;
        Ok(all.into_iter().map(|disk| ((disk.guest.clone(), disk.target.clone()), disk)).collect())
    }

    /// The length, and a sum of bytes at the start, in the middle and at the end.
    async fn print(&self, path: PathBuf, seen: Option<&SeenFile>) -> Option<String> {
        let (id, stamp, length) = seen.map(|seen| (seen.id, seen.stamp, seen.length))?;
        if let Some(known) = self.sight().print(id, stamp) {
            return Some(known);
        }
        let read = {
            let path = path.clone();
            move || print(&path, length).map_err(|source| StorageError::Open { path, source })
        };
        let print = self.blocking(&path, limits::LOOK, read).await.ok()?;
        self.sight().note_print(id, stamp, &print);
        Some(print)
    }
}

fn disks_of(node: &Node) -> Vec<(DomainId, String, PathBuf)> {
    let disk = |need: &Need| match need {
        Need::Defined { id, part: Part::Disk(target), writes: true, .. } => Some((*id, target.clone())),
        _ => None,
    };
    let path = node.paths.first().cloned().unwrap_or_default();
    node.needs.iter().filter_map(disk).map(|(id, target)| (id, target, path.clone())).collect()
}

fn same_file(noted: &DiskIdentity, id: FileId) -> bool {
    (noted.device, noted.inode) == (id.device, id.inode)
}

fn print(path: &Path, length: u64) -> io::Result<String> {
    let file = File::open(path)?;
    // FNV-1a with 64 bits: it tells disks apart, it does not withstand a forger.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut block = vec![0; PART_BYTES];
    for at in [0, length / 2, length.saturating_sub(PART_BYTES as u64)] {
        let count = file.read_at(&mut block, at)?;
        for byte in &block[..count] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{length}:{hash:016x}"))
}
