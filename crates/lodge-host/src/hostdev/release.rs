//! Giving back what a guest had, as its note tells it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lodge_model::DomainId;

use super::error::{Fault, HostdevError};
use super::kernel::Kernel;
use super::note::{Function, Given, Note};
use super::{Acts, Inner, bind, function, lock, own};

impl Inner {
    /// Gives back what the guest had when `asked` claims of its were done; what it was given since is another run's.
    pub(super) fn release(&self, domain: DomainId, acts: Arc<Acts>, asked: u64) -> Result<(), HostdevError> {
        let given = {
            let _one_at_a_time = lock(&acts.turn);
            if acts.claims.load(Ordering::Acquire) == asked { self.give_back(domain) } else { Ok(()) }
        };
        drop(acts);
        // Kept only as long as anybody waits for it.
        lock(&self.acts).retain(|_, acts| Arc::strong_count(acts) > 1);
        given
    }

    /// Undoes what the guest's note tells of. What fails is kept, noted and taken, for the next try.
    pub(super) fn give_back(&self, domain: DomainId) -> Result<(), HostdevError> {
        let note = Note::read(&self.notes, domain);
        let note = note.map_err(|source| own(Fault::Note { path: self.notes.clone(), source }))?;
        let mut failed = None;
        if let Some(note) = note {
            if note.boot == self.boot {
                failed = self.undo(&note);
            }
            if failed.is_none() {
                let removed = Note::remove(&self.notes, domain);
                removed.map_err(|source| own(Fault::Note { path: self.notes.clone(), source }))?;
            }
        }
        if let Some(fault) = failed {
            return Err(own(fault));
        }
        lock(&self.taken).release(domain);
        Ok(())
    }

    /// All of it is tried; the first failure is told.
    fn undo(&self, note: &Note) -> Option<Fault> {
        let kernel = self.kernel_for(note.domain);
        let mut failed = None;
        for Given { path, owner } in note.given.iter().filter(|given| given.path.exists()) {
            if let Err(source) = kernel.give(path, *owner) {
                failed.get_or_insert(Fault::Give { path: path.clone(), source });
            }
        }
        // Before a driver of the host's has it again and looks for its address. One that is gone has none.
        for Function { address, before } in &note.functions {
            let Ok(place) = function::place_of(&self.root, address) else { continue };
            if let Err(fault) = function::set(&kernel, &place, before) {
                failed.get_or_insert(fault);
            }
        }
        for rebound in note.rebound.iter().rev() {
            if let Err(fault) = bind::give_back(&kernel, &self.root, rebound) {
                failed.get_or_insert(fault);
            }
        }
        failed
    }
}
