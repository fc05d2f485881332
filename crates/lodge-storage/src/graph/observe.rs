//! Looking at the host: the files of pools and images, and what every path that somebody names leads to.
//!
//! A file whose stamp is as it was is not opened again: a look at 10,000 guests is a `stat` per file. Each directory is
//! looked at on a thread of its own with a deadline. One that does not answer (a dead NFS server) is judged by what was
//! last seen of it, and holds no more than a few threads, however often it is asked for.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use lodge_sys::fs::TEMP_PREFIX;
use rustix::fs::{OFlags, SeekFrom, seek};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    Graph, Key, Observation, SeenFile,
    facts::{self, Facts},
    snapshots,
    stands::Standing,
};
use crate::{
    Storage,
    chain::{Gate, backing_path},
    error::StorageError,
    file::FileId,
    limits,
    ports::Part,
    vol::facts::Stamp,
};

/// What was seen before.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    facts: Mutex<facts::Known>,
    /// Held over a look at snapshots' documents: one reads them at a time.
    documents: Arc<Mutex<snapshots::Known>>,
    places: Mutex<HashMap<PathBuf, Place>>,
    /// Who stands on what.
    standing: Standing,
    /// Prints of disks, each with the state it was taken in.
    prints: Mutex<HashMap<FileId, (Stamp, String)>>,
}

/// A directory that is looked at.
#[derive(Debug, Clone)]
struct Place {
    looks: Arc<Semaphore>,
    last: Option<Arc<Vec<SeenFile>>>,
}

/// A path to be looked at.
#[derive(Debug, Clone)]
struct Wanted {
    path: PathBuf,
    /// Its header is read too: a document names it as a disk.
    read: bool,
}

/// A path, what it leads to, and the file there.
type Looked = (PathBuf, Key, Option<SeenFile>);

impl Storage {
    /// Looks at the host and puts the graph together. `also`: paths that the question is about.
    pub(crate) async fn graph(&self, also: &[PathBuf]) -> Result<Graph, StorageError> {
        let observation = self.observe(also).await?;
        let anywhere = PathBuf::from("/");
        self.blocking(&anywhere, limits::LOOK, move || Ok(Graph::of(observation))).await
    }

    async fn observe(&self, also: &[PathBuf]) -> Result<Observation, StorageError> {
        let mut seen = Observation { held: self.claims().all(), ..Observation::default() };
        if let Some(guests) = self.guests() {
            let asked = Path::new("/");
            seen.guests = self.blocking(asked, limits::LOOK, move || Ok(guests.list())).await?;
        }
        let images = self.images().await?;
        seen.images = images.into_iter().map(|image| (image.name, image.path)).collect();
        seen.templates = self.templates().await?;
        seen.snapshots = self.snapshot_files().await?;
        seen.files = self.look_at_dirs(also).await?;
        seen.keys = seen.files.iter().map(|file| (file.path.clone(), Key::File(file.id))).collect();
        self.follow(&mut seen, also).await;
        let there: HashSet<_> = seen.files.iter().map(|file| file.id).collect();
        self.sight().known_facts().keep_only(there.len(), |id| there.contains(id));
        Ok(seen)
    }

    /// The files of all pools, of the images' directory, and those beside the files that the question is about: what
    /// stands on a file lies there more often than not.
    async fn look_at_dirs(&self, also: &[PathBuf]) -> Result<Vec<SeenFile>, StorageError> {
        let mut looks = JoinSet::new();
        let pools: HashSet<PathBuf> = self.pool_dirs().into_iter().collect();
        let mut dirs: Vec<PathBuf> = pools.iter().cloned().collect();
        dirs.push(self.images_dir().to_owned());
        dirs.extend(self.dirs_of(also).await);
        dirs.sort();
        dirs.dedup();
        for dir in dirs {
            let storage = self.clone();
            let in_pool = pools.contains(&dir);
            looks.spawn(async move { storage.look_at_dir(dir, in_pool).await });
        }
        let mut files = Vec::new();
        for seen in looks.join_all().await {
            files.extend(seen?.iter().cloned());
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// The directories of those paths that are files.
    async fn dirs_of(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for path in paths {
            let owned = path.clone();
            let look = move || Ok(fs::metadata(owned).is_ok_and(|metadata| metadata.is_file()));
            // One that does not answer is judged by its name, as everywhere here.
            if self.blocking(path, limits::LOOK, look).await.unwrap_or(false) {
                dirs.extend(path.parent().map(Path::to_owned));
            }
        }
        dirs
    }

    async fn look_at_dir(&self, dir: PathBuf, in_pool: bool) -> Result<Arc<Vec<SeenFile>>, StorageError> {
        let place = self.sight().place(&dir);
        let (storage, path) = (self.clone(), dir.clone());
        let look = move || look_at_dir(&storage, &path, in_pool);
        match self.look(&place, &dir, look).await {
            Ok(files) => {
                let files = Arc::new(files);
                self.sight().note(&dir, Arc::clone(&files));
                Ok(files)
            }
            Err(error @ StorageError::Silent { .. }) => {
                tracing::warn!(path = %dir.display(), %error, "directory judged by what was last seen of it");
                place.last.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// A look at a directory, if not too many are at it already.
    async fn look<T: Send + 'static>(
        &self,
        place: &Place,
        dir: &Path,
        act: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let silent = || StorageError::Silent { path: dir.to_owned(), seconds: limits::LOOK.as_secs() };
        let permit = tokio::time::timeout(limits::LOOK, Arc::clone(&place.looks).acquire_owned()).await;
        let permit = permit.map_err(|_| silent())?.map_err(|_| silent())?;
        // The permit stays with the thread until the kernel lets it go.
        let act = move || {
            let _permit = permit;
            act()
        };
        self.blocking(dir, limits::LOOK, act).await
    }

    pub(crate) async fn snapshot_files(&self) -> Result<Vec<Arc<snapshots::SnapshotFiles>>, StorageError> {
        let (dir, known) = (self.snapshots_dir().to_owned(), Arc::clone(&self.sight().documents));
        let read = move || {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            snapshots::read(&dir, &mut known)
                .map_err(|source| StorageError::List { path: dir.clone(), source })
        };
        self.blocking(self.snapshots_dir(), limits::LOOK, read).await
    }

    /// Finds out what named paths lead to, and what the files there stand on, until nothing new is named.
    async fn follow(&self, seen: &mut Observation, also: &[PathBuf]) {
        let mut wanted = named(seen, also);
        let mut from = 0;
        for _ in 0..limits::CHAIN_FILES {
            let backings = seen.files[from..].iter().filter_map(|file| {
                let backing = file.facts.backing.as_ref()?;
                backing_path(&file.path, &backing.name).ok()
            });
            // What only an image names is looked into where a start would.
            wanted.extend(backings.map(|path| Wanted { path, read: false }));
            wanted.retain(|wanted| !seen.keys.contains_key(&wanted.path));
            if wanted.is_empty() {
                return;
            }
            from = seen.files.len();
            for (path, key, file) in self.look_at_paths(std::mem::take(&mut wanted)).await {
                seen.keys.insert(path, key);
                seen.files.extend(file);
            }
        }
    }

    async fn look_at_paths(&self, wanted: Vec<Wanted>) -> Vec<Looked> {
        let mut by_dir: HashMap<PathBuf, Vec<Wanted>> = HashMap::new();
        for wanted in wanted {
            let dir = wanted.path.parent().unwrap_or(Path::new("/")).to_owned();
            by_dir.entry(dir).or_default().push(wanted);
        }
        let mut looks: JoinSet<Vec<Looked>> = JoinSet::new();
        for (dir, wanted) in by_dir {
            let (storage, gate) = (self.clone(), self.gate());
            looks.spawn(async move {
                let place = storage.sight().place(&dir);
                let (inner, paths) = (storage.clone(), wanted.clone());
                let look =
                    move || Ok(paths.into_iter().map(|path| look_at_path(&inner, path, &gate)).collect());
                storage.look(&place, &dir, look).await.unwrap_or_else(|error| {
                    tracing::warn!(path = %dir.display(), %error, "files judged by their names");
                    wanted
                        .into_iter()
                        .map(|wanted| (wanted.path.clone(), Key::Gone(wanted.path), None))
                        .collect()
                })
            });
        }
        let mut seen: Vec<Looked> = looks.join_all().await.into_iter().flatten().collect();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        seen
    }
}

impl Sight {
    fn known_facts(&self) -> std::sync::MutexGuard<'_, facts::Known> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen of who stands on what.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The print of a file in this state, if it was taken.
    pub fn print(&self, id: FileId, stamp: Stamp) -> Option<String> {
        let prints = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
        prints.get(&id).filter(|(known, _)| *known == stamp).map(|(_, print)| print.clone())
    }

    pub fn note_print(&self, id: FileId, stamp: Stamp, print: &str) {
        let mut prints = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
        if prints.len() >= limits::DIRECTORY_FILES {
            prints.clear();
        }
        prints.insert(id, (stamp, print.to_owned()));
    }

    fn place(&self, dir: &Path) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Place { looks: Arc::new(Semaphore::new(limits::LOOKS_AT_ONCE)), last: None };
        places.entry(dir.to_owned()).or_insert_with(new).clone()
    }

    fn note(&self, dir: &Path, files: Arc<Vec<SeenFile>>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(dir) {
            place.last = Some(files);
        }
    }
}

/// Every path that guests, snapshots, images and the question name.
fn named(seen: &Observation, also: &[PathBuf]) -> Vec<Wanted> {
    let mut paths: HashMap<&Path, bool> = HashMap::new();
    let mut name = |path, read| *paths.entry(path).or_default() |= read;
    for file in seen.guests.iter().flat_map(|guest| guest.files.iter()) {
        let is_raw = file.format.as_deref() == Some("raw");
        name(&file.path, matches!(file.part, Part::Disk(_) | Part::Backing(_)) && !is_raw);
    }
    for (path, _) in seen.snapshots.iter().flat_map(|snapshot| &snapshot.files) {
        name(path, false);
    }
    for path in seen.images.iter().map(|(_, path)| path).chain(&seen.templates).chain(also) {
        name(path, true);
    }
    let unknown = paths.into_iter().filter(|(path, _)| !seen.keys.contains_key(*path));
    unknown.map(|(path, read)| Wanted { path: path.to_owned(), read }).collect()
}

fn look_at_dir(storage: &Storage, dir: &Path, in_pool: bool) -> Result<Vec<SeenFile>, StorageError> {
    let failed = |source| StorageError::List { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        // A pool whose directory is not there has no files.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()) {
            continue;
        }
        if files.len() == limits::DIRECTORY_FILES {
            // To judge by a part of them would be to guess.
            return Err(failed(io::Error::other(format!("more than {} files", limits::DIRECTORY_FILES))));
        }
        files.extend(look_at_file(storage, &entry.path(), true).map(|file| SeenFile { in_pool, ..file }));
    }
    Ok(files)
}

fn look_at_path(storage: &Storage, wanted: Wanted, gate: &Gate) -> Looked {
    let path = wanted.path;
    let may_read = wanted.read || fs::canonicalize(&path).is_ok_and(|real| gate.admits(&real));
    match look_at_file(storage, &path, may_read) {
        Some(file) => (path, Key::File(file.id), Some(file)),
        None => (path.clone(), Key::Gone(path), None),
    }
}

/// A file or block device, with its header if that is to be read.
fn look_at_file(storage: &Storage, path: &Path, read: bool) -> Option<SeenFile> {
    let metadata = fs::metadata(path).ok()?;
    let kind = metadata.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return None;
    }
    let id = id_of(&metadata);
    let facts = if read { facts_of(storage, path, id, &metadata) } else { Arc::new(Facts::unknown()) };
    let allocation = metadata.blocks() * 512;
    let (length, stamp) = (metadata.len(), Stamp::of(&metadata));
    Some(SeenFile { path: path.to_owned(), id, length, allocation, facts, stamp, in_pool: false })
}

/// Which file it is. A block device is the same whichever node names it.
pub(crate) fn id_of(metadata: &Metadata) -> FileId {
    if metadata.file_type().is_block_device() {
        FileId { device: u64::MAX, inode: metadata.rdev() }
    } else {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

fn facts_of(storage: &Storage, path: &Path, id: FileId, metadata: &Metadata) -> Arc<Facts> {
    read_facts(storage, path, id, metadata).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "header not read");
        Arc::new(Facts::unknown())
    })
}

/// What a file's header says; it is read where its state is not known.
pub(crate) fn read_facts(
    storage: &Storage,
    path: &Path,
    id: FileId,
    metadata: &Metadata,
) -> io::Result<Arc<Facts>> {
    let stamp = Stamp::of(metadata);
    // A device's node does not change when its bytes do.
    let is_block = metadata.file_type().is_block_device();
    if let Some(known) = storage.sight().known_facts().of(id, stamp).filter(|_| !is_block) {
        return Ok(known);
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let length = if is_block { seek(&file, SeekFrom::End(0))? } else { metadata.len() };
    let facts = Arc::new(Facts::read(&file, length)?);
    storage.sight().known_facts().note(id, stamp, Arc::clone(&facts));
    Ok(facts)
}
