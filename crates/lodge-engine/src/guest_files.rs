//! Which files guests are made of, as the storage asks for them: what documents name, the seed, the saved memory.
//!
//! Asked before every act on a disk, with thousands of guests: a document is read once per text.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use lodge_domain::{Domains, Handle};
use lodge_model::{DomainId, domain::Domain};
use lodge_storage::{FileUse, GuestFiles, Guests, Part, PoolError, Pools, files_of};
use lodge_store::Root;

/// All domains, once there are any. Ports are made before domains are.
#[derive(Clone)]
pub(crate) struct Known {
    inner: Arc<Inner>,
}

struct Inner {
    root: Root,
    pools: Pools,
    domains: OnceLock<Domains>,
    /// Held for table look-ups only.
    read: Mutex<HashMap<DomainId, Reading>>,
}

/// What was read, of which texts.
#[derive(Clone)]
struct Reading {
    texts: [Option<Arc<str>>; 2],
    /// Where volumes lie changes with their pools.
    pools: u64,
    /// What the documents name.
    named: Arc<[FileUse]>,
    /// What no document names, and all of it, once somebody asked.
    whole: Option<(Own, Arc<[FileUse]>)>,
}

/// Files that no document names.
type Own = Vec<(PathBuf, Part)>;

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

impl Known {
    pub fn new(root: &Root, pools: &Pools) -> Self {
        let inner = Inner {
            root: root.clone(),
            pools: pools.clone(),
            domains: OnceLock::new(),
            read: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn set(&self, domains: Domains) {
        assert!(self.inner.domains.set(domains).is_ok(), "set once, by the engine's opening");
    }

    fn read(&self) -> MutexGuard<'_, HashMap<DomainId, Reading>> {
        self.inner.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that the guest's documents name.
    fn named_by(&self, handle: &Handle, pools: u64) -> Arc<[FileUse]> {
        let texts = handle.texts();
        if let Some(known) = self.read().get(&handle.id())
            && known.pools == pools
            && same(&known.texts, &texts)
        {
            return Arc::clone(&known.named);
        }
        // Of a pool that does not run as well: its volumes are needed all the same.
        let place = |pool: &str, volume: &str| {
            let dir = self.inner.pools.by_name(pool)?.path;
            let missing = || PoolError::NoVolume { by: "name", value: volume.to_owned() };
            dir.map(|dir| dir.join(volume)).ok_or_else(missing)
        };
        let mut files: Vec<FileUse> = Vec::new();
        for text in texts.iter().flatten() {
            match Domain::parse(text) {
                Ok(document) => files.extend(files_of(&document, &place)),
                Err(error) => {
                    tracing::warn!(domain = %handle.name(), %error, "document not read for its files");
                }
            }
        }
        let named = each_once(files);
        let reading = Reading { texts, pools, named: Arc::clone(&named), whole: None };
        self.read().insert(handle.id(), reading);
        named
    }

    /// All files of a guest.
    fn files(&self, handle: &Handle, pools: u64, seeds: &HashSet<OsString>) -> Arc<[FileUse]> {
        let named = self.named_by(handle, pools);
        let own = self.own_files(handle, seeds);
        if own.is_empty() {
            return named;
        }
        let mut read = self.read();
        let reading = read.get_mut(&handle.id()).filter(|known| Arc::ptr_eq(&known.named, &named));
        if let Some((known, files)) = reading.as_ref().and_then(|reading| reading.whole.as_ref())
            && *known == own
        {
            return Arc::clone(files);
        }
        let others = own.iter().map(|(path, part)| FileUse::plain(path, part.clone(), true));
        let files = each_once(named.iter().cloned().chain(others).collect());
        if let Some(reading) = reading {
            reading.whole = Some((own, Arc::clone(&files)));
        }
        files
    }

    /// What no document names.
    fn own_files(&self, handle: &Handle, seeds: &HashSet<OsString>) -> Own {
        let root = &self.inner.root;
        let endings: &[&str] = if seeds.is_empty() { &[] } else { &["json", "iso"] };
        let names = endings.iter().map(|ending| OsString::from(format!("{}.{ending}", handle.id().0)));
        let own = names.filter(|name| seeds.contains(name));
        let own = own.map(|name| (root.seeds().join(name), Part::Seed));
        let saved = handle
            .snapshot()
            .managed_save
            .then(|| (root.managed_saves().join(format!("{}.save", handle.name())), Part::SavedMemory));
        own.chain(saved).collect()
    }

    /// Tells one set of pools from another.
    fn pools_print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for pool in self.inner.pools.list() {
            (pool.name, pool.path).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn seeds(&self) -> HashSet<OsString> {
        let entries = std::fs::read_dir(self.inner.root.seeds());
        entries.into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    }
}

impl Guests for Known {
    fn list(&self) -> Vec<GuestFiles> {
        let (pools, seeds) = (self.pools_print(), self.seeds());
        self.all(|handle| self.files(handle, pools, &seeds))
    }

    fn named(&self) -> Vec<GuestFiles> {
        let pools = self.pools_print();
        self.all(|handle| self.named_by(handle, pools))
    }
}

impl Known {
    fn all(&self, files: impl Fn(&Handle) -> Arc<[FileUse]>) -> Vec<GuestFiles> {
        let Some(domains) = self.inner.domains.get() else { return Vec::new() };
        let of = |handle: Handle| {
            let snapshot = handle.snapshot();
            let (name, is_active) = (Arc::clone(&snapshot.name), snapshot.is_active());
            GuestFiles { id: handle.id(), name, is_active, files: files(&handle) }
        };
        let guests: Vec<_> = domains.handles().into_iter().map(of).collect();
        let mut read = self.read();
        if read.len() > guests.len() {
            let there: HashSet<_> = guests.iter().map(|guest| guest.id).collect();
            read.retain(|id, _| there.contains(id));
        }
        guests
    }
}

/// Who names a file as the same part twice needs it once.
fn each_once(mut files: Vec<FileUse>) -> Arc<[FileUse]> {
    let mut seen = Vec::new();
    files.retain(|file| {
        let one = (file.path.clone(), file.part.clone());
        let is_new = !seen.contains(&one);
        if is_new {
            seen.push(one);
        }
        is_new
    });
    files.into()
}

fn same(one: &[Option<Arc<str>>; 2], other: &[Option<Arc<str>>; 2]) -> bool {
    one.iter().zip(other).all(|pair| match pair {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    })
}
