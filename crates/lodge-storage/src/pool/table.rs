//! What is known of pools, and which two cannot be. Pure: no file is touched here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use lodge_model::{
    PoolId,
    storage::{Pool, PoolKind},
};
use tokio::sync::Semaphore;

use super::{conflict, document::Room, error::PoolError, id_of};
use crate::{limits, vol::facts::PoolVolume};

/// A pool as callers name it: the UUID counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolHandle {
    /// Its identity.
    pub id: PoolId,
    /// Its name, for messages.
    pub name: String,
}

/// What there is to know of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// Its identity.
    pub id: PoolId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: PoolKind,
    /// Its directory.
    pub path: Option<PathBuf>,
    /// It runs.
    pub is_active: bool,
    /// It has a definition.
    pub is_persistent: bool,
    /// It starts with the daemon.
    pub autostart: bool,
    /// Bytes of its file system.
    pub capacity: u64,
    /// Bytes taken there.
    pub allocation: u64,
    /// Bytes free there.
    pub available: u64,
    /// Whether copies of its files share their blocks; none: it is not known.
    pub reflink: Option<bool>,
}

impl PoolView {
    /// The pool as acts want it.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { id: self.id, name: self.name.clone() }
    }
}

/// One pool.
#[derive(Debug)]
pub(crate) struct Slot {
    /// What runs; of an inactive pool the definition.
    pub def: Pool,
    /// The definition, where it differs from what runs.
    pub new_def: Option<Pool>,
    pub is_active: bool,
    pub is_persistent: bool,
    pub autostart: bool,
    pub volumes: BTreeMap<String, Arc<PoolVolume>>,
    /// Whether its file system shares blocks, as tried at its start.
    pub reflink: Option<bool>,
    /// Who changes the directory as a whole.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// How many may look at files at once: a directory that hangs keeps no more threads than these.
    pub looks: Arc<Semaphore>,
    /// Volumes being made.
    pub making: BTreeSet<String>,
    /// Acts that last, by volume.
    pub busy: HashMap<String, usize>,
    /// Volumes that came or went while a scan runs: there the table is right, not the scan.
    pub touched: BTreeSet<String>,
}

impl Slot {
    pub fn new(def: Pool) -> Self {
        Self {
            def,
            new_def: None,
            is_active: false,
            is_persistent: false,
            autostart: false,
            volumes: BTreeMap::new(),
            reflink: None,
            turn: Arc::default(),
            looks: Arc::new(Semaphore::new(limits::LOOKS_AT_ONCE)),
            making: BTreeSet::new(),
            busy: HashMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub fn handle(&self) -> PoolHandle {
        PoolHandle { id: id_of(&self.def), name: self.def.name.clone() }
    }

    pub fn view(&self) -> PoolView {
        let room = Room::of(&self.def);
        PoolView {
            id: id_of(&self.def),
            name: self.def.name.clone(),
            kind: self.def.kind,
            path: self.def.path().map(PathBuf::from),
            is_active: self.is_active,
            is_persistent: self.is_persistent,
            autostart: self.autostart,
            capacity: room.capacity,
            allocation: room.allocation,
            available: room.available,
            reflink: self.reflink.filter(|_| self.is_active),
        }
    }

    /// What runs, or (`inactive`) what is defined.
    pub fn document(&self, inactive: bool) -> &Pool {
        self.new_def.as_ref().filter(|_| inactive).unwrap_or(&self.def)
    }

    pub fn volume(&self, name: &str) -> Result<&Arc<PoolVolume>, PoolError> {
        let missing = || PoolError::NoVolume { by: "name", value: name.to_owned() };
        self.volumes.get(name).ok_or_else(missing)
    }

    pub fn active(&self) -> Result<(), PoolError> {
        self.state(self.is_active, "is not active")
    }

    /// `what`: `is already active` of a start, `is still active` of an undefine.
    pub fn inactive(&self, what: &str) -> Result<(), PoolError> {
        self.state(!self.is_active, what)
    }

    fn state(&self, is_fine: bool, what: &str) -> Result<(), PoolError> {
        if is_fine {
            Ok(())
        } else {
            Err(PoolError::State(format!("storage pool '{}' {what}", self.def.name)))
        }
    }

    /// Nothing that lasts is done with a volume.
    pub fn unused(&self, name: &str) -> Result<(), PoolError> {
        if self.busy.contains_key(name) {
            return Err(PoolError::State(format!("volume '{name}' is still in use.")));
        }
        Ok(())
    }

    /// Nothing that lasts is under way.
    pub fn idle(&self) -> Result<(), PoolError> {
        if self.busy.is_empty() && self.making.is_empty() {
            return Ok(());
        }
        Err(PoolError::Internal(format!("pool '{}' has asynchronous jobs running.", self.def.name)))
    }

    /// Notes a volume that came or changed.
    pub fn put(&mut self, volume: PoolVolume) -> Arc<PoolVolume> {
        let volume = Arc::new(volume);
        self.touched.insert(volume.name.clone());
        self.volumes.insert(volume.name.clone(), Arc::clone(&volume));
        volume
    }

    /// Notes that a volume went.
    pub fn forget(&mut self, name: &str) {
        self.touched.insert(name.to_owned());
        self.volumes.remove(name);
    }

    /// Takes in what a scan found, but for what changed meanwhile.
    pub fn take_in(&mut self, mut found: BTreeMap<String, Arc<PoolVolume>>) {
        for name in std::mem::take(&mut self.touched) {
            match self.volumes.remove(&name) {
                Some(volume) => drop(found.insert(name, volume)),
                None => drop(found.remove(&name)),
            }
        }
        self.volumes = found;
    }

    /// It runs no more; the definition that waited takes its place.
    pub fn stopped(&mut self) {
        self.is_active = false;
        self.volumes.clear();
        super::document::note_free(&mut self.def, Vec::new());
        if let Some(def) = self.new_def.take() {
            self.def = def;
        }
    }

    /// A volume takes or gives back room, until the next refresh measures it.
    pub fn book(&mut self, taken: u64, given: u64) {
        let mut room = Room::of(&self.def);
        room.allocation = room.allocation.saturating_add(taken).saturating_sub(given);
        room.available = room.available.saturating_sub(taken).saturating_add(given);
        room.note_in(&mut self.def);
    }
}

/// All pools.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    slots: BTreeMap<PoolId, Slot>,
}

impl Tables {
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    pub fn get(&self, id: PoolId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    pub fn get_mut(&mut self, id: PoolId) -> Option<&mut Slot> {
        self.slots.get_mut(&id)
    }

    pub fn insert(&mut self, slot: Slot) {
        self.slots.insert(id_of(&slot.def), slot);
    }

    pub fn remove(&mut self, id: PoolId) -> Option<Slot> {
        self.slots.remove(&id)
    }

    /// Whether `pool` can be beside the others, or in place of the one with its UUID. `to_run`: it must not run yet.
    pub fn admit(&self, pool: &Pool, to_run: bool) -> Result<(), PoolError> {
        let id = id_of(pool);
        if let Some(slot) = self.get(id) {
            if slot.def.name != pool.name {
                let name = &slot.def.name;
                return Err(PoolError::Clash(format!("pool '{name}' is already defined with uuid {id}")));
            }
            if to_run && slot.is_active {
                let name = &slot.def.name;
                return Err(PoolError::State(format!("pool is already active as '{name}'")));
            }
        } else if let Some(slot) = self.slots().find(|slot| slot.def.name == pool.name) {
            let (name, other) = (&pool.name, id_of(&slot.def));
            return Err(PoolError::Clash(format!("pool '{name}' already exists with uuid {other}")));
        }
        let beside = |slot: &&Slot| id_of(&slot.def) != id;
        match self.slots().filter(beside).find(|slot| conflict::share_source(&slot.def, pool)) {
            Some(slot) => {
                let name = &slot.def.name;
                Err(PoolError::Clash(format!("Storage source conflict with pool: '{name}'")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::document;

    fn pool(number: u32, name: &str, path: &str) -> Pool {
        let text = format!(
            "<pool type='dir'><name>{name}</name><uuid>00000000-0000-0000-0000-{number:012}</uuid>\
             <target><path>{path}</path></target></pool>"
        );
        document::read(&text, false).unwrap()
    }

    fn told(tables: &Tables, pool: &Pool, to_run: bool) -> String {
        tables.admit(pool, to_run).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn two_pools_cannot_share_a_name_a_uuid_or_a_directory() {
        let mut tables = Tables::default();
        tables.insert(Slot { is_active: true, ..Slot::new(pool(1, "p", "/a")) });
        let uuid = "00000000-0000-0000-0000-000000000001";
        assert_eq!(told(&tables, &pool(1, "p", "/b"), false), "fine");
        assert_eq!(told(&tables, &pool(1, "p", "/b"), true), "pool is already active as 'p'");
        assert_eq!(
            told(&tables, &pool(1, "q", "/b"), false),
            format!("pool 'p' is already defined with uuid {uuid}")
        );
        assert_eq!(
            told(&tables, &pool(2, "p", "/a"), false),
            format!("pool 'p' already exists with uuid {uuid}")
        );
        assert_eq!(told(&tables, &pool(2, "q", "/a"), false), "Storage source conflict with pool: 'p'");
        assert_eq!(told(&tables, &pool(2, "q", "/b"), true), "fine");
    }

    #[test]
    fn a_scan_does_not_undo_what_happened_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["old", "gone"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let mut slot = Slot::new(pool(1, "p", "/a"));
        let found = crate::vol::scan::scan(dir.path(), &BTreeMap::new()).unwrap();
        slot.volumes.clone_from(&found);
        let new = PoolVolume { name: "new".to_owned(), ..PoolVolume::clone(&found["old"]) };
        slot.put(new);
        slot.forget("gone");
        slot.take_in(found);
        assert_eq!(slot.volumes.keys().collect::<Vec<_>>(), ["new", "old"]);
    }
}
