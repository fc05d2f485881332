//! Which files guests are made of, as the storage asks for them: what documents name, the seed, the saved memory.
//!
//! Asked before every act on a disk, with thousands of guests: a document is read once per text.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
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
    own: Vec<(PathBuf, Part)>,
    files: Arc<[FileUse]>,
}

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

    fn files(&self, handle: &Handle, pools: u64, seeds: &HashSet<OsString>) -> Arc<[FileUse]> {
        let texts = handle.texts();
        let own = self.own_files(handle, seeds);
        let table = || self.inner.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table().get(&handle.id())
            && known.pools == pools
            && known.own == own
            && same(&known.texts, &texts)
        {
            return Arc::clone(&known.files);
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
        files.extend(own.iter().map(|(path, part)| FileUse::plain(path, part.clone(), true)));
        let mut seen = Vec::new();
        files.retain(|file| {
            let is_new = !seen.contains(&(file.path.clone(), file.part.clone()));
            seen.push((file.path.clone(), file.part.clone()));
            is_new
        });
        let files: Arc<[FileUse]> = files.into();
        table().insert(handle.id(), Reading { texts, pools, own, files: Arc::clone(&files) });
        files
    }

    /// What no document names.
    fn own_files(&self, handle: &Handle, seeds: &HashSet<OsString>) -> Vec<(PathBuf, Part)> {
        let root = &self.inner.root;
        let names = ["json", "iso"].map(|ending| OsString::from(format!("{}.{ending}", handle.id().0)));
        let own = names.into_iter().filter(|name| seeds.contains(name));
        let own = own.map(|name| (root.seeds().join(name), Part::Seed));
        let saved = root.managed_saves().join(format!("{}.save", handle.name()));
        let saved = handle.snapshot().managed_save.then_some((saved, Part::SavedMemory));
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
        let Some(domains) = self.inner.domains.get() else { return Vec::new() };
        let (all, pools, seeds) = (domains.list(), self.pools_print(), self.seeds());
        let guests: Vec<_> = all
            .iter()
            .filter_map(|snapshot| {
                let handle = domains.get(snapshot.id).ok()?;
                let files = self.files(&handle, pools, &seeds);
                let (name, is_active) = (Arc::clone(&snapshot.name), snapshot.is_active());
                Some(GuestFiles { id: snapshot.id, name, is_active, files })
            })
            .collect();
        let mut read = self.inner.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() > guests.len() {
            let there: HashSet<_> = guests.iter().map(|guest| guest.id).collect();
            read.retain(|id, _| there.contains(id));
        }
        guests
    }
}

fn same(one: &[Option<Arc<str>>; 2], other: &[Option<Arc<str>>; 2]) -> bool {
    one.iter().zip(other).all(|pair| match pair {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    })
}
