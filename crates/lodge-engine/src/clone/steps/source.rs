//! The steps that a running source has part in: its disks are frozen by a snapshot, its memory becomes the clone's managed
//! save, and then its disks are as they were.
//!
//! Whatever becomes of the clone, the snapshot goes: each way back ends with it, and so does the next daemon's.

use std::path::Path;

use async_trait::async_trait;
use lodge_domain::{DomainError, SnapshotCreateOptions, SnapshotDeleteOptions, Ticket, read_saved_image};
use lodge_model::{Kind, domain::Domain};
use lodge_qemu::save_image::SavedGuest;
use lodge_store::saga::{Failure, Step};

use super::{Making, failed, file_failure};
use crate::clone::live::hardware;

/// Freezes the source's disks, and takes its memory.
pub(super) struct FreezeSource;

#[async_trait]
impl Step<Making> for FreezeSource {
    fn name(&self) -> &'static str {
        "freeze-source"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let Some(live) = making.plan.live.clone() else { return Ok(()) };
        let source = making.parts.domains.get(live.guest).map_err(failed)?;
        // Frozen by an earlier try.
        if source.find_snapshot(&live.snapshot).is_ok() {
            return Ok(());
        }
        if let Some(memory) = &live.memory {
            let file = memory.taken.clone();
            blocking(move || {
                let directory = file.parent().unwrap_or(Path::new("/"));
                std::fs::create_dir_all(directory).map_err(|error| file_failure("make", directory, &error))
            })
            .await?;
        }
        let options = SnapshotCreateOptions {
            disk_only: live.memory.is_none(),
            live: live.memory.is_some(),
            quiesce: live.quiesce,
            ..SnapshotCreateOptions::default()
        };
        let ticket = Ticket { cancel: making.stop.child_token(), ..Ticket::default() };
        source.create_snapshot(live.request, options, ticket).await.map(drop).map_err(failed)
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        release(making).await
    }
}

/// Makes the memory that was taken the clone's managed save.
pub(super) struct KeepMemory;

#[async_trait]
impl Step<Making> for KeepMemory {
    fn name(&self) -> &'static str {
        "keep-memory"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let Some(memory) = making.plan.memory().cloned() else { return Ok(()) };
        if !making.is_to_make(&memory.kept)? {
            return Ok(());
        }
        let saved = read_saved_image(&memory.taken).await.map_err(failed)?;
        let then = Domain::parse(&saved.xml).map_err(failed)?;
        // An earlier try may have put the clone's document in already.
        let found = hardware(&then);
        if then.uuid != Some(making.plan.id) && found != memory.hardware {
            tracing::debug!(planned = memory.hardware, found, "a source changed while it was being cloned");
            let text = format!("the hardware of `{}` changed while it was being cloned", making.plan.source);
            return Err(Failure::new(Kind::Conflict, text).with_hint("try again".to_owned()));
        }
        let document = making.plan.document.clone();
        let (from, to) = (memory.taken, memory.kept.clone());
        blocking(move || {
            SavedGuest::rewrite(&from, Some(&document), None)
                .map_err(|error| Failure::of(error.kind(), &error))?;
            let directory = to.parent().unwrap_or(Path::new("/"));
            std::fs::rename(&from, &to)
                .and_then(|()| lodge_sys::fs::sync_dir(directory))
                .map_err(|error| file_failure("write", &to, &error))
        })
        .await?;
        making.made.insert(memory.kept);
        Ok(())
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        let Some(memory) = making.plan.memory().cloned() else { return Ok(()) };
        if !making.is_own(&memory.kept) {
            return Ok(());
        }
        blocking(move || {
            lodge_sys::fs::remove_durable(&memory.kept)
                .map(drop)
                .map_err(|error| file_failure("remove", &memory.kept, &error))
        })
        .await
    }
}

/// The source's disks are as they were.
pub(super) struct ReleaseSource;

#[async_trait]
impl Step<Making> for ReleaseSource {
    fn name(&self) -> &'static str {
        "release-source"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        release(making).await
    }

    async fn undo(&self, _: &mut Making) -> Result<(), Failure> {
        Ok(())
    }
}

/// Merges what the source wrote since, and forgets the snapshot. Fine if there is none.
async fn release(making: &Making) -> Result<(), Failure> {
    let Some(live) = &making.plan.live else { return Ok(()) };
    let Ok(source) = making.parts.domains.get(live.guest) else { return Ok(()) };
    match source.delete_snapshot(live.snapshot.clone(), SnapshotDeleteOptions::default()).await {
        Ok(()) | Err(DomainError::NoSnapshot { .. }) => Ok(()),
        Err(error) => {
            let (name, snapshot) = (source.name(), &live.snapshot);
            let failure = failed(error);
            let next = format!("`lodge snapshot delete {name} {snapshot}` tries again");
            Err(Failure { hint: failure.hint.or(Some(next)), ..failure })
        }
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "work on a file broke")))
}
