//! Images that are looked over because an act inside them was cut off with the daemon before.
//!
//! ```text
//!  the act is settled ─▶ note ─▶ its own note goes ─▶ a task, beside all else: image by image ─▶ the note goes
//!                                                       ▲ what needs the guest's disks waits for it, or is told
//! ```
//!
//! A look reads all tables of an image, which may take minutes. Nobody waits for it but who wants these very disks: the
//! guest is listed, and others go on. A daemon that ends breaks it off; by the note the next one begins it anew.
//! Deliberately absent: how an image is looked over, and what keeps others from it meanwhile (storage's).

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lodge_model::DomainId;
use lodge_store::saga::{self, Context, DbLog, Log as _, OpenSaga};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::images::{self, Images};
use crate::define::blocking;
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::index::Entry;
use crate::options::Ticket;
use crate::owner::PATIENCE;
use crate::ports::LockedFile;
use crate::record::Record;

/// The note's kind in the store.
pub(crate) const SAGA: &str = "domain-images-mend";

/// What is to be looked over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    name: String,
    images: Vec<PathBuf>,
    /// Files that are encrypted.
    #[serde(default)]
    keys: Vec<LockedFile>,
}

impl Context for Plan {
    fn saved(&self) -> Value {
        serde_json::to_value(self).expect("a plan has string keys only")
    }
}

/// The guests whose images are looked over now.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    looks: Mutex<HashMap<DomainId, Look>>,
    /// One of them is over.
    ended: Notify,
}

#[derive(Debug)]
struct Look {
    since: Instant,
    /// How many are under way or wait for their turn.
    count: usize,
    /// One look at a guest's images at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Mending {
    fn looks(&self) -> MutexGuard<'_, HashMap<DomainId, Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a guest's images are looked over; none: they are not.
    pub fn since(&self, id: DomainId) -> Option<Instant> {
        self.looks().get(&id).map(|look| look.since)
    }

    /// Waits until a guest's images are not looked over any more.
    pub async fn over(&self, id: DomainId) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.since(id).is_none() {
                return;
            }
            ended.await;
        }
    }
}

/// A look, from its beginning on; over when this is dropped, however that comes about.
struct UnderWay {
    shared: Arc<Shared>,
    id: DomainId,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl UnderWay {
    fn of(shared: &Arc<Shared>, id: DomainId) -> Self {
        let mut looks = shared.mending.looks();
        let new = || Look { since: Instant::now(), count: 0, turn: Arc::default() };
        let look = looks.entry(id).or_insert_with(new);
        look.count += 1;
        Self { shared: Arc::clone(shared), id, turn: Arc::clone(&look.turn) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut looks = self.shared.mending.looks();
        if let Some(look) = looks.get_mut(&self.id) {
            look.count -= 1;
            if look.count == 0 {
                looks.remove(&self.id);
            }
        }
        drop(looks);
        self.shared.mending.ended.notify_waiters();
    }
}

/// Images that are to be looked over, and the note of it.
pub(super) struct Noted {
    plan: Plan,
    log: Option<DbLog>,
}

/// Notes it, before the note of the act that was cut off goes.
pub(super) async fn note(shared: &Shared, entry: &Entry, images: Images<'_>) -> Noted {
    let plan =
        Plan { name: entry.name().to_string(), images: images.paths.to_vec(), keys: images.keys.to_vec() };
    if plan.images.is_empty() {
        return Noted { plan, log: None };
    }
    let noted = saga::begin(shared.config.store.db(), SAGA, &entry.id.to_string(), None, &plan).await;
    let failed = |error: &lodge_store::DbError| {
        tracing::warn!(domain = plan.name, error = %chain(error), "if the daemon ends now, images are not looked over");
    };
    let log = noted.inspect_err(failed).ok();
    Noted { plan, log }
}

/// Begins to look them over, beside all else.
pub(super) fn begin(shared: &Arc<Shared>, id: DomainId, noted: Noted) {
    let Noted { plan, log } = noted;
    if plan.images.is_empty() {
        return;
    }
    let look = UnderWay::of(shared, id);
    let work = async move {
        let shared = &look.shared;
        let _turn = look.turn.lock().await;
        let images = Images { paths: &plan.images, keys: &plan.keys };
        tokio::select! {
            biased;
            // The note stays, for the next daemon.
            () = shared.closing.cancelled() => return,
            () = images::mend(shared, id, &plan.name, images) => {}
        }
        if let Some(mut log) = log
            && let Err(error) = log.end().await
        {
            tracing::warn!(domain = plan.name, error = %chain(&error), "images are looked over once more by the next daemon");
        }
    };
    shared.owners.spawn_on(work, &shared.runtime);
}

/// Whether a QEMU may have the guest's images open. Not one of a record whose process is gone.
pub(super) async fn may_run(shared: &Shared, id: DomainId) -> bool {
    let dir = shared.config.store.root().guest(id.0);
    blocking(move || {
        let record = Record::read(&dir).ok().flatten();
        dir.exists() && record.is_none_or(|record| record.identity().is_some_and(|identity| identity.alive()))
    })
    .await
}

/// Begins anew what an earlier daemon was at.
pub(crate) fn resume(shared: &Arc<Shared>, entry: &Entry, open: OpenSaga) {
    match serde_json::from_value::<Plan>(open.saved) {
        Ok(plan) => begin(shared, entry.id, Noted { plan, log: Some(open.log) }),
        Err(error) => {
            tracing::error!(domain = %entry.name(), %error, "the note of images to be looked over is unreadable");
        }
    }
}

/// Before an act on a guest's disks: waits until they are not looked over any more, as long as acts wait for each other.
pub(crate) async fn wait(
    shared: &Shared,
    entry: &Entry,
    act: &'static str,
    ticket: &Ticket,
) -> Result<(), DomainError> {
    let Some(since) = shared.mending.since(entry.id) else { return Ok(()) };
    ticket.tell("waiting until its disks are looked over", None);
    let over = tokio::time::timeout(ticket.patience.unwrap_or(PATIENCE), shared.mending.over(entry.id));
    tokio::select! {
        biased;
        () = ticket.cancel.cancelled() => Err(DomainError::Aborted { act, name: entry.name() }),
        over = over => over.map_err(|_| DomainError::LookedOver { act, name: entry.name(), since }),
    }
}
