//! What the question is about, and the answer, from what was seen: pure.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Stander, looks::Seen};
use crate::{
    file::FileId,
    graph::snapshots::SnapshotFiles,
    limits,
    ports::{GuestFiles, Part},
};

/// What a look at a file is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    /// Which file it is.
    No,
    /// Its header too, if the file lies where images may name files.
    Admitted,
    /// Its header too: a document names it.
    Named,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub path: PathBuf,
    pub read: Read,
}

/// A file that somebody names.
#[derive(Debug, Clone, Copy)]
struct Root<'a> {
    who: Who<'a>,
    path: &'a Path,
    /// Its bytes are needed as they are.
    is_kept: bool,
    /// It stands on nothing, whatever its bytes look like.
    is_raw: bool,
}

#[derive(Debug, Clone, Copy)]
enum Who<'a> {
    Guest(&'a GuestFiles, &'a str),
    Snapshot(&'a SnapshotFiles),
    Template,
}

/// All that names files.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub guests: Vec<GuestFiles>,
    pub snapshots: Vec<Arc<SnapshotFiles>>,
    pub templates: Vec<PathBuf>,
    /// Files that other guests write now: theirs are claimed, and what lies below them too.
    pub written: HashSet<PathBuf>,
    /// Where file systems are mounted.
    pub mounts: HashSet<PathBuf>,
}

impl Named {
    fn roots(&self) -> impl Iterator<Item = Root<'_>> {
        let guests = self.guests.iter().flat_map(|guest| {
            guest.files.iter().filter_map(move |file| {
                let Part::Disk(target) = &file.part else { return None };
                let is_raw = file.format.as_deref() == Some("raw");
                Some(Root { who: Who::Guest(guest, target), path: &file.path, is_kept: false, is_raw })
            })
        });
        let snapshots = self.snapshots.iter().flat_map(|snapshot| {
            snapshot.files.iter().map(move |(path, is_inside)| Root {
                who: Who::Snapshot(snapshot),
                path,
                is_kept: !is_inside,
                is_raw: snapshot.raw.contains(path),
            })
        });
        let templates = self.templates.iter();
        let templates =
            templates.map(|path| Root { who: Who::Template, path, is_kept: false, is_raw: false });
        // What stands on nothing and is not kept is in nobody's way.
        let roots = guests.chain(snapshots).chain(templates).filter(|root| root.is_kept || !root.is_raw);
        roots.filter(move |root| !self.written.contains(root.path))
    }

    /// The files that are named, each once.
    pub fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: HashMap<&Path, Read> = HashMap::new();
        for root in self.roots() {
            let read = if root.is_raw { Read::No } else { Read::Named };
            let known = wanted.entry(root.path).or_insert(read);
            *known = read.max(*known);
        }
        wanted.into_iter().map(|(path, read)| Wanted { path: path.to_owned(), read }).collect()
    }

    /// Files by the mount they lie on, by their names alone: what does not answer keeps one thread, not one per directory.
    pub fn by_mount(&self, wanted: Vec<Wanted>) -> HashMap<PathBuf, Vec<Wanted>> {
        let mut by_dir: HashMap<PathBuf, Vec<Wanted>> = HashMap::new();
        for wanted in wanted {
            let dir = wanted.path.parent().unwrap_or(Path::new("/"));
            match by_dir.get_mut(dir) {
                Some(there) => there.push(wanted),
                None => drop(by_dir.insert(dir.to_owned(), vec![wanted])),
            }
        }
        let mut by_mount: HashMap<PathBuf, Vec<Wanted>> = HashMap::new();
        for (dir, there) in by_dir {
            let mount = dir.ancestors().find(|dir| self.mounts.contains(*dir)).unwrap_or(Path::new("/"));
            by_mount.entry(mount.to_owned()).or_default().extend(there);
        }
        by_mount
    }

    /// Files below disks that documents name: they may be looked into, wherever they lie.
    pub fn vouched(&self) -> HashSet<&Path> {
        let files = self.guests.iter().flat_map(|guest| guest.files.iter());
        let files = files.filter(|file| matches!(file.part, Part::Backing(_)));
        files.map(|file| file.path.as_path()).collect()
    }
}

impl Root<'_> {
    fn stander(&self, is_itself: bool) -> Stander {
        let file = self.path.to_owned();
        match self.who {
            Who::Guest(guest, target) => {
                Stander::Disk { guest: Arc::clone(&guest.name), target: target.to_owned(), file }
            }
            Who::Snapshot(snapshot) => Stander::Snapshot {
                guest: Arc::clone(&snapshot.guest),
                snapshot: Arc::clone(&snapshot.name),
                file: (!is_itself).then_some(file),
            },
            Who::Template => Stander::Template { file },
        }
    }
}

/// Somebody stands on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// The file.
    pub path: PathBuf,
    pub by: Stander,
    /// The files that tell of it, by their names.
    pub via: Vec<PathBuf>,
}

/// The first of `tops` that somebody stands on, and who.
pub(super) fn judge(named: &Named, seen: &HashMap<PathBuf, Seen>, tops: &[(FileId, PathBuf)]) -> Option<Hit> {
    let hit = |id: FileId| tops.iter().find(|(top, _)| *top == id).map(|(_, path)| path.clone());
    let of_root = |root: Root<'_>| {
        let own = seen.get(root.path)?;
        if root.is_kept
            && let Some(path) = hit(own.id)
        {
            return Some(Hit { path, by: root.stander(true), via: vec![root.path.to_owned()] });
        }
        let mut via = Vec::new();
        let mut next = own.below.as_ref().filter(|_| !root.is_raw);
        // A chain that goes round in a circle is told elsewhere.
        for _ in 0..limits::CHAIN_FILES {
            let below = next?;
            let file = seen.get(&below.path)?;
            via.push(below.path.clone());
            if let Some(path) = hit(file.id) {
                via.push(root.path.to_owned());
                return Some(Hit { path, by: root.stander(false), via });
            }
            next = file.below.as_ref().filter(|_| !below.is_raw);
        }
        None
    };
    named.roots().find_map(of_root)
}
