//! Looking at what is named and at what lies below it; what was seen is kept.
//!
//! A file is looked at again when the kernel has told of a change where it lies ([`Dirs`]), or always where that cannot
//! be known. So a start beside 10,000 guests touches a directory per pool, not a file per guest.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use lodge_sys::fs::{DirChange, WatchId};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    dirs::{Dirs, Told, id_of_dir, is_told_of},
    judge::{Named, Read, Wanted},
};
use crate::{
    Storage,
    chain::{Gate, backing_path},
    file::FileId,
    graph::observe::{id_of, read_facts},
    limits,
    vol::facts::Stamp,
};

/// What was seen of named files and of those below them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    table: Arc<Mutex<Table>>,
    places: Arc<Mutex<HashMap<PathBuf, Place>>>,
}

/// Held for look-ups only, never over what may last.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub seen: HashMap<PathBuf, Seen>,
    dirs: Dirs,
    /// How often the kernel has told of changes. What was looked at across one of them may be old.
    told: u64,
}

/// A file as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub id: FileId,
    stamp: Stamp,
    /// Its header was read in that state.
    was_read: bool,
    pub below: Option<Below>,
    /// What would tell of a change of it. None: nothing, or it has told of one.
    watch: Option<WatchId>,
}

/// What a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Below {
    pub path: PathBuf,
    /// It is called raw, and so stands on nothing itself.
    pub is_raw: bool,
}

/// A mount that is looked at.
#[derive(Debug, Clone)]
struct Place {
    looks: Arc<Semaphore>,
    /// A look that did not end in time. It is set when that look has ended after all.
    hangs: Option<Arc<AtomicBool>>,
}

impl Storage {
    /// Looks at what is named and at what lies below, one layer after the other.
    pub(super) async fn see(&self, named: &Named) {
        self.sight().standing().hear(&named.mounts);
        let (mut wanted, vouched) = (named.wanted(), named.vouched());
        let mut looked: HashMap<PathBuf, Read> = HashMap::with_capacity(wanted.len());
        for _ in 0..limits::CHAIN_FILES {
            wanted.retain(|wanted| looked.get(&wanted.path).is_none_or(|read| *read < wanted.read));
            if wanted.is_empty() {
                break;
            }
            looked.extend(wanted.iter().map(|wanted| (wanted.path.clone(), wanted.read)));
            let mut looks = JoinSet::new();
            for (mount, there) in named.by_mount(std::mem::take(&mut wanted)) {
                let storage = self.clone();
                looks.spawn(async move { storage.see_in(&mount, there).await });
            }
            let below: HashSet<(PathBuf, bool)> = looks.join_all().await.into_iter().flatten().collect();
            let want = |(path, is_raw): (PathBuf, bool)| {
                let read = match (is_raw, vouched.contains(&*path)) {
                    (true, _) => Read::No,
                    (false, true) => Read::Named,
                    (false, false) => Read::Admitted,
                };
                Wanted { path, read }
            };
            wanted = below.into_iter().map(want).collect();
        }
        self.sight().standing().keep_only(&looked);
    }

    /// Looks at files of one mount; what lies below them. One that does not answer keeps nobody for long.
    async fn see_in(&self, mount: &Path, wanted: Vec<Wanted>) -> HashSet<(PathBuf, bool)> {
        let standing = self.sight().standing().clone();
        let place = standing.place(mount);
        if place.hangs() {
            return standing.below(&wanted);
        }
        // What was never seen is worth more patience: there is nothing to judge it by.
        let limit = if standing.knows(&wanted) { limits::SIGHT } else { limits::FIRST_SIGHT };
        let permit = tokio::time::timeout(limit, Arc::clone(&place.looks).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return standing.below(&wanted) };
        let over = Arc::new(AtomicBool::new(false));
        let (end, storage, inner) = (End(Arc::clone(&over)), self.clone(), standing.clone());
        let wanted = Arc::new(wanted);
        let paths = Arc::clone(&wanted);
        let look = move || {
            let (_permit, _end) = (permit, end);
            inner.look_at_all(&storage, &paths);
            Ok(inner.below(&paths))
        };
        match self.blocking(mount, limit, look).await {
            Ok(below) => below,
            Err(error) => {
                tracing::warn!(path = %mount.display(), %error, "who stands on what there is judged by what was last seen");
                standing.note_hanging(mount, over);
                standing.below(&wanted)
            }
        }
    }
}

/// Says that a look has ended, however it did.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Place {
    fn hangs(&self) -> bool {
        self.hangs.as_ref().is_some_and(|over| !over.load(Ordering::Acquire))
    }
}

impl Table {
    /// It was looked at, and nothing has been told of it since.
    fn is_as_seen(&self, wanted: &Wanted, watch: Option<WatchId>) -> bool {
        let Some(seen) = self.seen.get(&wanted.path) else { return false };
        watch.is_some() && seen.watch == watch && (seen.was_read || wanted.read == Read::No)
    }

    fn doubt(&mut self, path: &Path) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.watch = None;
        }
    }

    fn doubt_all(&mut self) {
        self.seen.values_mut().for_each(|seen| seen.watch = None);
    }
}

impl Standing {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are looked at again, whatever was told of them.
    pub(super) fn doubt(&self, paths: &[PathBuf]) {
        let mut table = self.table();
        for path in paths {
            table.doubt(path);
        }
    }

    /// Takes in what the kernel has told since. `mounts`: what is covered by one of them is told of elsewhere.
    fn hear(&self, mounts: &HashSet<PathBuf>) {
        let mut table = self.table();
        let changes = table.dirs.changes();
        if !changes.is_empty() {
            table.told += 1;
        }
        for change in changes {
            match change {
                DirChange::Entry(watch, name) => {
                    for dir in table.dirs.of(watch) {
                        table.doubt(&dir.join(&name));
                    }
                }
                DirChange::Gone(watch) => table.dirs.forget(watch),
                DirChange::Lost => table.doubt_all(),
            }
        }
        for mount in mounts {
            table.doubt(mount);
        }
    }

    fn place(&self, mount: &Path) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Place { looks: Arc::new(Semaphore::new(limits::LOOKS_AT_ONCE)), hangs: None };
        places.entry(mount.to_owned()).or_insert_with(new).clone()
    }

    fn note_hanging(&self, mount: &Path, over: Arc<AtomicBool>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(mount) {
            place.hangs = Some(over);
        }
    }

    /// Whether all of these were seen before.
    fn knows(&self, wanted: &[Wanted]) -> bool {
        let table = self.table();
        wanted.iter().all(|wanted| table.seen.contains_key(&wanted.path))
    }

    /// What lies below these, as last seen.
    fn below(&self, wanted: &[Wanted]) -> HashSet<(PathBuf, bool)> {
        let table = self.table();
        let read = wanted.iter().filter(|wanted| wanted.read != Read::No);
        let below = read.filter_map(|wanted| table.seen.get(&wanted.path)?.below.as_ref());
        below.map(|below| (below.path.clone(), below.is_raw)).collect()
    }

    /// Forgets what nobody names any more, so that the tables have an end.
    fn keep_only(&self, looked: &HashMap<PathBuf, Read>) {
        let mut table = self.table();
        if table.seen.len() > looked.len().saturating_mul(2).max(1024) {
            table.seen.retain(|path, _| looked.contains_key(path));
            let dirs: HashSet<&Path> = looked.keys().map(|path| dir_of(path)).collect();
            table.dirs.keep_only(&dirs);
        }
    }

    /// Looks at those of which a change may not have been told. Runs on a blocking thread.
    fn look_at_all(&self, storage: &Storage, wanted: &[Wanted]) {
        let gate = storage.gate();
        let mut watches: HashMap<&Path, Option<WatchId>> = HashMap::new();
        for wanted in wanted {
            let dir = dir_of(&wanted.path);
            watches.entry(dir).or_insert_with(|| self.watch(dir));
        }
        let watch_of = |wanted: &Wanted| watches.get(dir_of(&wanted.path)).copied().flatten();
        let unsure: Vec<&Wanted> = {
            let table = self.table();
            wanted.iter().filter(|wanted| !table.is_as_seen(wanted, watch_of(wanted))).collect()
        };
        for wanted in unsure {
            self.look_at(storage, &gate, wanted, watch_of(wanted));
        }
    }

    /// Sees to it that changes in a directory are told of. None: they cannot be.
    fn watch(&self, dir: &Path) -> Option<WatchId> {
        let id = id_of_dir(dir)?;
        let known = self.table().dirs.known(dir, id);
        match known {
            Some(Told::By(watch)) => return Some(watch),
            Some(Told::ByNobody) => return None,
            None => {}
        }
        if !is_told_of(dir) {
            self.table().dirs.give_up(dir, id);
            return None;
        }
        let watch = self.table().dirs.add(dir, id);
        // It may have become another one just now.
        watch.filter(|_| id_of_dir(dir) == Some(id))
    }

    /// Looks at one file. Runs on a blocking thread, and holds no lock over what may last.
    fn look_at(&self, storage: &Storage, gate: &Gate, wanted: &Wanted, watch: Option<WatchId>) {
        let path = &wanted.path;
        let told = self.table().told;
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.table().seen.remove(path);
                return;
            }
            // It may be a server that is gone: what was seen last counts.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "file judged by what was last seen of it");
                return;
            }
        };
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            self.table().seen.remove(path);
            return;
        }
        let watch = watch.filter(|_| is_told_of_there(path, &metadata));
        let (id, stamp) = (id_of(&metadata), Stamp::of(&metadata));
        // A device's node does not change when its bytes do.
        let is_known = |seen: &Seen| {
            seen.stamp == stamp && (seen.was_read || wanted.read == Read::No) && !kind.is_block_device()
        };
        {
            let mut table = self.table();
            let is_quiet = table.told == told;
            if let Some(seen) = table.seen.get_mut(path)
                && is_known(seen)
            {
                seen.watch = watch.filter(|_| is_quiet);
                return;
            }
        }
        let may_read = match wanted.read {
            Read::No => false,
            Read::Named => true,
            Read::Admitted => fs::canonicalize(path).is_ok_and(|real| gate.admits(&real)),
        };
        let mut seen = Seen { id, stamp, was_read: may_read, below: None, watch };
        if may_read {
            match read_facts(storage, path, id, &metadata) {
                Ok(facts) => {
                    seen.below = facts.backing.as_ref().and_then(|backing| {
                        let below = backing_path(path, &backing.name).ok()?;
                        Some(Below { path: below, is_raw: backing.is_raw() })
                    });
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "header not read: judged by what was last seen of it");
                    return;
                }
            }
        }
        let mut table = self.table();
        if table.told != told {
            seen.watch = None;
        }
        table.seen.insert(path.clone(), seen);
    }
}

/// The directory a file's name is in.
fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether all changes of the file are told of where its name lies: it has no other name, and its name is no link. A
/// device's bytes change without a word.
fn is_told_of_there(path: &Path, metadata: &Metadata) -> bool {
    metadata.is_file()
        && metadata.nlink() == 1
        && fs::symlink_metadata(path).is_ok_and(|itself| itself.is_file())
}
