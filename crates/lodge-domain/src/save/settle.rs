//! A save that the daemon's end cut short: finished or taken back by the next daemon.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use lodge_model::domain::lifecycle::{RunningReason, ShutoffReason, State};
use lodge_store::saga::OpenSaga;
use lodge_sys::process::Process;

use super::{END_PATIENCE, Note, end, managed_path, part_of, undo};
use crate::act::{Ended, Reply, ended};
use crate::define::blocking;
use crate::domains::Shared;
use crate::error::chain;
use crate::index::Entry;
use crate::record::Record;
use crate::start::remove_file;
use crate::stop;

/// Settles a save that an earlier daemon left. `None`: the guest goes on; it is to be looked for.
pub(crate) async fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) -> Option<Ended> {
    let name = entry.name();
    let mut log = open.log;
    let Ok(note) = serde_json::from_value::<Note>(open.saved) else {
        tracing::error!(domain = %name, "the note of an unfinished save is unreadable");
        return None;
    };
    let file = note.file.clone();
    let there = blocking(move || std::fs::metadata(file).map(|now| (now.dev(), now.ino())).ok()).await;
    let dir = shared.config.store.root().guest(entry.id.0);
    if note.inode.is_some() && there == note.inode {
        let record = {
            let dir = dir.clone();
            blocking(move || Record::read(&dir).ok().flatten()).await
        };
        let process = record.and_then(|record| Process::hold(record.identity()?).ok().flatten());
        if let Some(process) = process {
            let _ = stop::kill(&process, END_PATIENCE).await;
        }
        stop::clear_away(shared, entry.id, &name).await;
        end(&mut log).await;
        let managed = note.file == managed_path(shared, &name);
        tracing::info!(domain = %name, file = %note.file.display(), "an unfinished save was finished");
        return Some(ended(move |owner| {
            owner.amend_snapshot(|snapshot| snapshot.managed_save |= managed);
            owner.set_state(State::Running { reason: RunningReason::Unknown }, None);
            owner.is_off(ShutoffReason::Saved);
            Ok(Reply::Done)
        }));
    }
    match lodge_qemu::adopt(&dir, entry.id, Duration::from_secs(2)).await {
        Ok(qemu) => undo(qemu.monitor(), &note, &name).await,
        Err(error) => {
            tracing::warn!(domain = %name, error = %chain(&error), "a guest in the midst of a save does not answer");
            let _ = remove_file(part_of(&note.file)).await;
        }
    }
    end(&mut log).await;
    tracing::info!(domain = %name, file = %note.file.display(), "an unfinished save was taken back");
    None
}
