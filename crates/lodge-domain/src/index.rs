//! Which domain has which name and UUID: the one table all owners and readers share.
//!
//! The lock guards names only, is held for a few instructions and never across a wait. What a domain *does* is
//! in its own [`Entry`], which its owner alone replaces. Deliberately absent: state.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use lodge_model::DomainId;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_qemu::qmp::Monitor;

use crate::error::DomainError;
use crate::mailbox::Slot;
use crate::snapshot::Snapshot;

/// A domain's texts. They are parsed when somebody needs more than the summary.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documents {
    /// The definition: what the next boot gets. None for a transient guest.
    pub inactive: Option<Arc<str>>,
    /// What runs, with aliases, ports and the like. None where nothing runs.
    pub live: Option<Arc<str>>,
}

/// What is shared of one domain: written by its owner task, read by everybody.
#[derive(Debug)]
pub(crate) struct Entry {
    pub id: DomainId,
    pub snapshot: ArcSwap<Snapshot>,
    pub documents: ArcSwap<Documents>,
    /// The monitor of the running QEMU, for readers of live figures.
    pub monitor: ArcSwapOption<Monitor>,
    /// What is counted of the running QEMU.
    pub counters: ArcSwapOption<crate::control::tune::perf::Counters>,
    /// What figures need of the document, once somebody asked.
    pub digest: ArcSwapOption<crate::digest::Digest>,
    /// Its snapshots.
    pub snapshots: ArcSwap<SnapshotTree>,
    /// The way to the owner; see `mailbox.rs`.
    pub slot: Mutex<Slot>,
}

impl Entry {
    pub fn new(snapshot: Snapshot, documents: Documents) -> Arc<Self> {
        Arc::new(Self {
            id: snapshot.id,
            snapshot: ArcSwap::from_pointee(snapshot),
            documents: ArcSwap::from_pointee(documents),
            monitor: ArcSwapOption::empty(),
            counters: ArcSwapOption::empty(),
            digest: ArcSwapOption::empty(),
            snapshots: ArcSwap::from_pointee(SnapshotTree::default()),
            slot: Mutex::new(Slot::Idle),
        })
    }

    /// Its present name.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.snapshot.load().name)
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Index(RwLock<Tables>);

#[derive(Debug, Default)]
struct Tables {
    by_id: HashMap<DomainId, Arc<Entry>>,
    by_name: BTreeMap<Arc<str>, Arc<Entry>>,
}

impl Index {
    /// Puts in what is known from the start.
    pub fn fill(&self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        let mut tables = self.write();
        for entry in entries {
            tables.by_name.insert(entry.name(), Arc::clone(&entry));
            tables.by_id.insert(entry.id, entry);
        }
    }

    /// The domain `id`, or a place for a new one called `name`; both stay taken until [`Index::remove`].
    /// libvirt's rule: name and UUID go together for ever, a definition cannot rename.
    pub fn claim(
        &self,
        id: DomainId,
        name: &str,
        fresh: impl FnOnce() -> Arc<Entry>,
    ) -> Result<(Arc<Entry>, bool), DomainError> {
        let mut tables = self.write();
        if let Some(entry) = tables.by_id.get(&id) {
            let known = entry.name();
            if *known != *name {
                return Err(DomainError::UuidTaken { id, name: known, wanted: name.to_owned() });
            }
            return Ok((Arc::clone(entry), false));
        }
        if let Some(entry) = tables.by_name.get(name) {
            return Err(DomainError::NameTaken { name: name.to_owned(), id: entry.id });
        }
        let entry = fresh();
        tables.by_name.insert(entry.name(), Arc::clone(&entry));
        tables.by_id.insert(id, Arc::clone(&entry));
        Ok((entry, true))
    }

    /// Gives a domain a second name, until one of the two is dropped.
    pub fn claim_name(&self, entry: &Arc<Entry>, name: &str) -> Result<(), DomainError> {
        let mut tables = self.write();
        if let Some(other) = tables.by_name.get(name) {
            return Err(DomainError::NameTaken { name: name.to_owned(), id: other.id });
        }
        tables.by_name.insert(name.into(), Arc::clone(entry));
        Ok(())
    }

    /// Takes a name away from a domain that has two.
    pub fn drop_name(&self, entry: &Arc<Entry>, name: &str) {
        let mut tables = self.write();
        if tables.by_name.get(name).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            tables.by_name.remove(name);
        }
    }

    /// Forgets a domain, if `entry` is still the one under its UUID.
    pub fn remove(&self, entry: &Arc<Entry>) {
        let mut tables = self.write();
        if tables.by_id.get(&entry.id).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            tables.by_id.remove(&entry.id);
            tables.by_name.remove(&entry.name());
        }
    }

    /// By UUID.
    pub fn by_id(&self, id: DomainId) -> Option<Arc<Entry>> {
        self.read().by_id.get(&id).cloned()
    }

    /// By name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Entry>> {
        self.read().by_name.get(name).cloned()
    }

    /// All, by name.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.read().by_name.values().cloned().collect()
    }

    /// All snapshots of domains that exist, by name.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let tables = self.read();
        tables.by_name.values().map(|entry| entry.snapshot.load_full()).filter(|view| view.exists()).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
