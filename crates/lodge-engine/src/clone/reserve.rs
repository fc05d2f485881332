//! Names and addresses of machines that are being made: two acts at once must not choose the same.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use lodge_model::{DomainId, MacAddr};

/// What is reserved. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    names: HashSet<String>,
    macs: HashSet<MacAddr>,
    sources: HashSet<DomainId>,
    settling: HashSet<DomainId>,
}

/// Names and addresses that are somebody's until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    all: Reservations,
    names: Vec<String>,
    macs: Vec<MacAddr>,
    sources: Vec<DomainId>,
    settling: Vec<DomainId>,
}

impl Reservations {
    /// Reserves nothing yet.
    pub fn open(&self) -> Reserved {
        Reserved {
            all: self.clone(),
            names: Vec::new(),
            macs: Vec::new(),
            sources: Vec::new(),
            settling: Vec::new(),
        }
    }

    /// Whether an act makes another machine of this clone now.
    pub fn is_settling(&self, clone: DomainId) -> bool {
        self.table().settling.contains(&clone)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Each change is one insertion or removal: a panic leaves the table before or after it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Takes a name, unless another act has it.
    pub fn name(&mut self, name: &str) -> bool {
        let is_free = self.all.table().names.insert(name.to_owned());
        if is_free {
            self.names.push(name.to_owned());
        }
        is_free
    }

    /// Takes an address, unless another act has it.
    pub fn mac(&mut self, mac: MacAddr) -> bool {
        let is_free = self.all.table().macs.insert(mac);
        if is_free {
            self.macs.push(mac);
        }
        is_free
    }

    /// Takes a running guest whose disks are to be frozen for a while, unless another act has it.
    pub fn source(&mut self, source: DomainId) -> bool {
        let is_free = self.all.table().sources.insert(source);
        if is_free {
            self.sources.push(source);
        }
        is_free
    }

    /// Takes a clone that is to be made another machine while it runs, unless another act has it.
    pub fn settling(&mut self, clone: DomainId) -> bool {
        let is_free = self.all.table().settling.insert(clone);
        if is_free {
            self.settling.push(clone);
        }
        is_free
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut table = self.all.table();
        for name in &self.names {
            table.names.remove(name);
        }
        for mac in &self.macs {
            table.macs.remove(mac);
        }
        for source in &self.sources {
            table.sources.remove(source);
        }
        for clone in &self.settling {
            table.settling.remove(clone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_acts_until_it_ends() {
        let all = Reservations::default();
        let mut one = all.open();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        assert!(one.name("web2") && one.mac(mac));
        let mut other = all.open();
        assert!(!other.name("web2") && !other.mac(mac) && other.name("web3"));
        drop(one);
        assert!(other.name("web2") && other.mac(mac));
    }
}
