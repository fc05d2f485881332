//! Who stands on a file that a guest is about to write: the question of every start and of every disk that is plugged in.
//!
//! [`Storage::who_needs`](crate::Storage::who_needs) knows that too, but looks at every file of every pool for it. Here
//! only what somebody names is followed: the disks of other guests, the files of their snapshots, templates. What nobody
//! names stands in nobody's way. It costs a `stat` per file that is named and not in use (what runs has its files
//! claimed), and a header is read again when its file has changed only.
//!
//! ```text
//!  named files ──▶ a thread per mount: stat, and the header where it changed ──▶ seen ──▶ pure: who reaches the file?
//!                    └─ one that does not answer: judged by what was last seen, and asked by nobody until it answers
//! ```
//!
//! A guest's own disks and snapshots are no reason: a snapshot's overlay stands on what was the disk before. Deliberately
//! absent: files that two guests name as their disk (the second writer is refused when the first has it), and backing
//! files that a document names and no header does: a start goes by headers.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use lodge_model::DomainId;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    observe::{id_of, read_facts},
    snapshots::SnapshotFiles,
};
use crate::{
    Storage,
    chain::{Gate, backing_path},
    claim::Examined,
    error::StorageError,
    file::FileId,
    limits,
    pool::backend::mount::table::entries,
    ports::{GuestFiles, Part},
    vol::facts::Stamp,
};

/// Who stands on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stander {
    /// A guest's disk.
    Disk {
        /// The guest.
        guest: Arc<str>,
        /// The disk's target.
        target: String,
        /// Its own file.
        file: PathBuf,
    },
    /// A snapshot of a guest.
    Snapshot {
        /// The guest.
        guest: Arc<str>,
        /// The snapshot's name.
        snapshot: Arc<str>,
        /// Its file that stands there; none: it is kept in the very file.
        file: Option<PathBuf>,
    },
    /// A template.
    Template {
        /// Its file.
        file: PathBuf,
    },
}

impl Stander {
    /// What to do so that the file may be written.
    pub fn next_step(&self) -> String {
        match self {
            Self::Disk { guest, file, .. } => format!(
                "let that disk stand alone first, while '{guest}' is off (lodge chain flatten {}), give this guest another \
                 disk, or mark its disk `<readonly/>`",
                file.display()
            ),
            Self::Snapshot { guest, snapshot, .. } => format!(
                "delete the snapshot first (lodge snapshot-delete {guest} {snapshot}), or give this guest another disk"
            ),
            Self::Template { file } => format!(
                "let the template stand alone first (lodge chain flatten {}), or give this guest another disk",
                file.display()
            ),
        }
    }
}

impl fmt::Display for Stander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { guest, target, file } => {
                write!(f, "`{}`, disk {target} of domain '{guest}', stands on it", file.display())
            }
            Self::Snapshot { guest, snapshot, file: None } => {
                write!(f, "snapshot '{snapshot}' of domain '{guest}' is kept in it")
            }
            Self::Snapshot { guest, snapshot, file: Some(file) } => {
                write!(f, "`{}`, of snapshot '{snapshot}' of domain '{guest}', stands on it", file.display())
            }
            Self::Template { file } => write!(f, "the template `{}` stands on it", file.display()),
        }
    }
}

/// What was seen of named files and of those below them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    seen: Arc<Mutex<HashMap<PathBuf, Seen>>>,
    places: Arc<Mutex<HashMap<PathBuf, Place>>>,
}

/// A file as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    id: FileId,
    stamp: Stamp,
    /// Its header was read in that state.
    was_read: bool,
    below: Option<Below>,
}

/// What a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Below {
    path: PathBuf,
    /// It is called raw, and so stands on nothing itself.
    is_raw: bool,
}

/// A mount that is looked at.
#[derive(Debug, Clone)]
struct Place {
    looks: Arc<Semaphore>,
    /// A look that did not end in time. It is set when that look has ended after all.
    hangs: Option<Arc<AtomicBool>>,
}

/// What a look at a file is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    /// Which file it is.
    No,
    /// Its header too, if the file lies where images may name files.
    Admitted,
    /// Its header too: a document names it.
    Named,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    path: PathBuf,
    read: Read,
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
struct Named {
    guests: Vec<GuestFiles>,
    snapshots: Vec<Arc<SnapshotFiles>>,
    templates: Vec<PathBuf>,
    /// Files that other guests write now: theirs are claimed, and what lies below them too.
    written: HashSet<PathBuf>,
    /// Where file systems are mounted.
    mounts: HashSet<PathBuf>,
}

impl Storage {
    /// Refuses to let `domain` (called `name`) write to a file that somebody else stands on.
    pub(crate) async fn refuse_stood_on(
        &self,
        domain: DomainId,
        name: &str,
        examined: &[Examined],
    ) -> Result<(), StorageError> {
        let tops: Vec<(FileId, PathBuf)> = examined.iter().filter_map(Examined::written).collect();
        if tops.is_empty() {
            return Ok(());
        }
        let named = self.named_by_others(domain, name).await?;
        self.see(&named).await;
        let standing = self.sight().standing().clone();
        let look = move || Ok(judge(&named, &standing.seen(), &tops));
        match self.blocking(Path::new("/"), limits::LOOK, look).await? {
            Some((path, by)) => Err(StorageError::StoodOn { path, by: Box::new(by) }),
            None => Ok(()),
        }
    }

    /// Looks at all that is named, so that the first start finds it seen.
    pub async fn see_what_stands(&self) -> Result<(), StorageError> {
        let named = self.named_by_others(DomainId::random(), "").await?;
        self.see(&named).await;
        Ok(())
    }

    async fn named_by_others(&self, domain: DomainId, name: &str) -> Result<Named, StorageError> {
        let mut named = Named { written: self.claims().written_by_others(domain), ..Named::default() };
        if let Some(guests) = self.guests() {
            let list = move || {
                let mut all = guests.named();
                all.retain(|guest| guest.id != domain);
                Ok(all)
            };
            named.guests = self.blocking(Path::new("/"), limits::LOOK, list).await?;
        }
        named.mounts = self.blocking(Path::new("/proc"), limits::LOOK, || Ok(mounts())).await?;
        named.templates = self.templates().await?;
        let snapshots = self.snapshot_files().await?;
        if !snapshots.is_empty() {
            // What a guest left that is gone is nobody's.
            let there: HashSet<&str> = named.guests.iter().map(|guest| &*guest.name).collect();
            let counts =
                |snapshot: &Arc<SnapshotFiles>| *snapshot.guest != *name && there.contains(&*snapshot.guest);
            named.snapshots = snapshots.into_iter().filter(counts).collect();
        }
        Ok(named)
    }

    /// Looks at what is named and at what lies below, one layer after the other.
    async fn see(&self, named: &Named) {
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
        let (end, storage, inner, paths) =
            (End(Arc::clone(&over)), self.clone(), standing.clone(), wanted.clone());
        let look = move || {
            let (_permit, _end) = (permit, end);
            let gate = storage.gate();
            for wanted in &paths {
                inner.look_at(&storage, &gate, wanted);
            }
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

impl Standing {
    fn seen(&self) -> MutexGuard<'_, HashMap<PathBuf, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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
        let seen = self.seen();
        wanted.iter().all(|wanted| seen.contains_key(&wanted.path))
    }

    /// What lies below these, as last seen.
    fn below(&self, wanted: &[Wanted]) -> HashSet<(PathBuf, bool)> {
        let seen = self.seen();
        let read = wanted.iter().filter(|wanted| wanted.read != Read::No);
        let below = read.filter_map(|wanted| seen.get(&wanted.path)?.below.as_ref());
        below.map(|below| (below.path.clone(), below.is_raw)).collect()
    }

    /// Forgets what nobody names any more, so that the table has an end.
    fn keep_only(&self, looked: &HashMap<PathBuf, Read>) {
        let mut seen = self.seen();
        if seen.len() > looked.len().saturating_mul(2).max(1024) {
            seen.retain(|path, _| looked.contains_key(path));
        }
    }

    /// Looks at one file. Runs on a blocking thread, and holds no lock over what may last.
    fn look_at(&self, storage: &Storage, gate: &Gate, wanted: &Wanted) {
        let path = &wanted.path;
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.seen().remove(path);
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
            self.seen().remove(path);
            return;
        }
        let (id, stamp) = (id_of(&metadata), Stamp::of(&metadata));
        // A device's node does not change when its bytes do.
        let is_known = |seen: &Seen| {
            seen.stamp == stamp && (seen.was_read || wanted.read == Read::No) && !kind.is_block_device()
        };
        if self.seen().get(path).is_some_and(is_known) {
            return;
        }
        let may_read = match wanted.read {
            Read::No => false,
            Read::Named => true,
            Read::Admitted => fs::canonicalize(path).is_ok_and(|real| gate.admits(&real)),
        };
        let mut seen = Seen { id, stamp, was_read: may_read, below: None };
        if may_read {
            match read_facts(storage, path, id, &metadata) {
                Ok(facts) => {
                    seen.below = facts.backing.as_ref().and_then(|backing| {
                        let below = backing_path(path, &backing.name).ok()?;
                        Some(Below { path: below, is_raw: backing.format.as_deref() == Some("raw") })
                    });
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "header not read: judged by what was last seen of it");
                    return;
                }
            }
        }
        self.seen().insert(path.clone(), seen);
    }
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
    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: HashMap<&Path, Read> = HashMap::new();
        for root in self.roots() {
            let read = if root.is_raw { Read::No } else { Read::Named };
            let known = wanted.entry(root.path).or_insert(read);
            *known = read.max(*known);
        }
        wanted.into_iter().map(|(path, read)| Wanted { path: path.to_owned(), read }).collect()
    }

    /// Files by the mount they lie on, by their names alone: what does not answer keeps one thread, not one per directory.
    fn by_mount(&self, wanted: Vec<Wanted>) -> HashMap<PathBuf, Vec<Wanted>> {
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
    fn vouched(&self) -> HashSet<&Path> {
        let files = self.guests.iter().flat_map(|guest| guest.files.iter());
        let files = files.filter(|file| matches!(file.part, Part::Backing(_)));
        files.map(|file| file.path.as_path()).collect()
    }
}

/// Where file systems are mounted, as the kernel has it. None where it does not tell.
fn mounts() -> HashSet<PathBuf> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    entries(&text).map(|entry| entry.target).collect()
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

/// The first of `tops` that somebody stands on, and who. Pure.
fn judge(
    named: &Named,
    seen: &HashMap<PathBuf, Seen>,
    tops: &[(FileId, PathBuf)],
) -> Option<(PathBuf, Stander)> {
    let hit = |id: FileId| tops.iter().find(|(top, _)| *top == id).map(|(_, path)| path.clone());
    let of_root = |root: Root<'_>| {
        let own = seen.get(root.path)?;
        if root.is_kept
            && let Some(path) = hit(own.id)
        {
            return Some((path, root.stander(true)));
        }
        let mut next = own.below.as_ref().filter(|_| !root.is_raw);
        // A chain that goes round in a circle is told elsewhere.
        for _ in 0..limits::CHAIN_FILES {
            let below = next?;
            let file = seen.get(&below.path)?;
            if let Some(path) = hit(file.id) {
                return Some((path, root.stander(false)));
            }
            next = file.below.as_ref().filter(|_| !below.is_raw);
        }
        None
    };
    named.roots().find_map(of_root)
}
