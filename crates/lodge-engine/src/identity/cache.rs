//! What was read of disks, kept for as long as they do not change: a reading is known by each file's device, inode, size
//! and times, down the whole chain.

use std::{fmt::Write as _, os::unix::fs::MetadataExt as _};

use lodge_api::IdentityChange;
use lodge_identity::{Identity, Item, Kind, State};
use lodge_model::DomainId;
use lodge_storage::Storage;
use lodge_store::Db;
use serde::{Deserialize, Serialize};

use super::{inside::GuestDisk, look::told_subject};

/// Grows when the catalogue reads more than it did: older readings are made anew.
const EDITION: u32 = 1;

/// A reading.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub identity: Identity,
    pub gaps: Vec<String>,
}

/// What disks are now, in short; none where they cannot be looked at.
pub(super) async fn print(storage: &Storage, disks: &[GuestDisk]) -> Option<String> {
    let mut print = format!("{EDITION}");
    for disk in disks {
        let links = storage.chain(&disk.path, disk.format).await.ok()?;
        let _ = write!(print, ";{}", disk.target);
        for link in links {
            let file = std::fs::metadata(&link.path).ok()?;
            let _ = write!(
                print,
                ",{}:{}:{}:{}.{}:{}.{}",
                file.dev(),
                file.ino(),
                file.len(),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec()
            );
        }
    }
    Some(print)
}

/// What was read of a subject, if its disks are what they were.
pub(super) async fn known(db: &Db, subject: &str, print: &str) -> Option<Known> {
    let (kept, known) = match db.identity(subject).await {
        Ok(found) => found?,
        Err(error) => {
            tracing::warn!(subject, %error, "readings not looked up");
            return None;
        }
    };
    if kept != print {
        return None;
    }
    serde_json::from_value(known).ok()
}

/// Keeps it. A reading that cannot be kept is made again.
pub(super) async fn keep(db: &Db, subject: &str, print: &str, known: &Known) {
    let value = serde_json::to_value(known).unwrap_or_default();
    if let Err(error) = db.put_identity(subject, print, value).await {
        tracing::warn!(subject, %error, "reading not kept");
    }
}

/// Keeps the machine id that a guest was given, as it was read back, until somebody reads all of it: for lists, and for the
/// judgement of starts. It has no disks' print, so nothing else is taken for read.
pub(crate) async fn keep_made(db: &Db, guest: DomainId, changes: &[IdentityChange]) {
    let is_made = |change: &&IdentityChange| change.item == "machine-id" && !change.new.is_empty();
    let Some(made) = changes.iter().find(is_made) else { return };
    let item = Item {
        kind: Kind::MACHINE_ID,
        place: made.place.clone(),
        state: State::Present,
        value: Some(made.new.clone()),
        note: None,
        is_unique: true,
    };
    let identity = Identity { items: vec![item], ..Identity::default() };
    keep(db, &format!("domain:{guest}"), "", &Known { identity, gaps: Vec::new() }).await;
}

impl crate::Engine {
    /// Adds the machine ids that were read before, or told by the agent of one that runs. No disk is read for a list.
    pub(crate) async fn add_machine_ids(
        &self,
        views: &mut [lodge_api::DomainView],
    ) -> crate::error::Result<()> {
        let kept = self.store.db().identities().await?;
        let mut known: std::collections::HashMap<String, serde_json::Value> =
            kept.into_iter().map(|(subject, _, known)| (subject, known)).collect();
        for view in views {
            let told = known.remove(&told_subject(&view.uuid)).filter(|_| view.state.is_active());
            let Some(known) = told.or_else(|| known.remove(&format!("domain:{}", view.uuid))) else {
                continue;
            };
            if let Ok(Known { identity, .. }) = serde_json::from_value(known) {
                view.machine_id = lodge_identity::machine_id(&identity).map(str::to_owned);
            }
        }
        Ok(())
    }
}
