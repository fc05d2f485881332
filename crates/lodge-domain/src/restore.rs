//! `virsh restore`: a guest goes on from the memory in a file. A start like any other, with that memory.

use std::path::PathBuf;

use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::Request;
use lodge_qemu::qmp::Monitor;
use lodge_qemu::save_image::{SaveImageError, SavedGuest};
use lodge_store::saga::Failure;

use crate::act::Begin;
use crate::define::blocking;
use crate::options::{RestoreOptions, Resumption, Ticket};
use crate::owner::Owner;
use crate::start::{Launching, SavedMemory, launch_document};

/// `virsh restore`.
pub(crate) fn restore(
    owner: &mut Owner,
    document: &Domain,
    file: PathBuf,
    options: &RestoreOptions,
    ticket: &Ticket,
) -> Begin {
    if let Err(error) = owner.admit("restore", Request::Start) {
        return Begin::Now(Err(error));
    }
    let memory = SavedMemory { file, managed: false, bypass_cache: options.bypass_cache };
    let paused = options.resumption == Resumption::Paused;
    let how = Launching { paused, reset_nvram: options.reset_nvram, restore: Some(memory) };
    launch_document(owner, document.clone(), how, ticket)
}

/// Gives a QEMU that waits for it the saved memory.
pub(crate) async fn load(monitor: &Monitor, memory: &SavedMemory) -> Result<(), Failure> {
    if memory.bypass_cache {
        tracing::warn!(file = %memory.file.display(), "a restore past the page cache is not supported; it goes through it");
    }
    let file = memory.file.clone();
    let refused =
        |error: &SaveImageError| Failure::of(error.kind(), error).with_hint(error.hint().map(str::to_owned));
    let saved = blocking(move || SavedGuest::open(&file)).await.map_err(|error| refused(&error))?;
    saved.give_memory(monitor, |_| ()).await.map_err(|error| refused(&error))
}
