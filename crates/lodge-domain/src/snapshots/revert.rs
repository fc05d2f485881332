//! `virsh snapshot-revert`: the guest is as it was when the snapshot was taken.
//!
//! ```text
//!  check ▶ note ▶ end the guest ▶ make files ▶ write down ▶ ┬ images go back (a guest that was off)
//!                                                           └ start, with the memory (a guest that was on)
//! ```
//!
//! What the guest wrote since its last snapshot is lost, as it is asked for; everything any snapshot holds stays. Files
//! that a revert leaves without a user go only if nobody else needs them. A crash after the guest's end leaves it off,
//! with all snapshots there: the revert can be done again. Deliberately absent: a revert of single disks.

mod plan;
mod steps;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{Event as Change, PausedReason, RunningReason, ShutoffReason};
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, SnapshotSort, SnapshotState};
use lodge_store::saga::{self, CancellationToken, Direction, OpenSaga};

use self::plan::{Planned, make as plan};
use self::steps::{Plan, Reverting, steps};
use super::images::Images;
use super::{delete, find, mending, refuse};
use crate::act::{Begin, Ended, Reply, ended};
use crate::define::blocking;
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::event::{EventKind, Lifecycle};
use crate::index::{Documents, Entry};
use crate::options::{SnapshotRevertOptions, Ticket};
use crate::owner::Owner;
use crate::start::Launched;
use crate::stop;

/// The saga's kind in the store.
pub(crate) const SAGA: &str = "domain-snapshot-revert";
/// How long QEMU may take to write its caches back before the plug is pulled.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// `virsh snapshot-revert`.
pub(crate) fn revert(
    owner: &mut Owner,
    name: &str,
    options: SnapshotRevertOptions,
    ticket: &Ticket,
) -> Begin {
    let tree = owner.entry.snapshots.load_full();
    let found = find(&tree, &owner.name(), name).and_then(|snapshot| {
        check(owner, &snapshot, options)?;
        Ok(snapshot)
    });
    let snapshot = match found {
        Ok(snapshot) => snapshot,
        Err(error) => return Begin::Now(Err(error)),
    };
    let process = owner.vmm.as_deref().map(|vmm| (vmm.process.clone(), vmm.monitor().cloned()));
    let (shared, entry, noted) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry), owner.noted.take());
    let transient = !owner.is_persistent();
    let ticket = ticket.clone();
    Begin::job(async move {
        if let Some(noted) = noted {
            let _ = noted.await;
        }
        if let Err(error) = mending::wait(&shared, &entry, "revert", &ticket).await {
            return ended(move |_| Err(error));
        }
        let planned = plan(&shared, &entry, &tree, &snapshot, options, transient).await;
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => return ended(move |_| Err(error)),
        };
        let was_on = process.is_some();
        if let Some((process, monitor)) = process {
            if stop::kill(&process, END_PATIENCE).await.is_none() {
                let (name, pid) = (entry.name(), process.identity().pid);
                let error = DomainError::WouldNotEnd { name, pid, waited: END_PATIENCE };
                return ended(move |_| Err(error));
            }
            stop::last_words(monitor.as_ref()).await;
            stop::clear_away(&shared, entry.id, &entry.name()).await;
        }
        let outcome = run(&shared, &entry, &snapshot, planned, &ticket).await;
        let end: Ended = ended(move |owner| {
            if was_on {
                owner.is_off(ShutoffReason::FromSnapshot);
                // Its snapshot's document is its definition now, or it runs again at once.
                owner.vanished = false;
            }
            outcome.end(owner)
        });
        end
    })
}

fn check(
    owner: &Owner,
    snapshot: &DomainSnapshot,
    options: SnapshotRevertOptions,
) -> Result<(), DomainError> {
    let (name, state) = (owner.name(), snapshot.state());
    let starts = state.is_online() || options.running || options.paused;
    if !owner.is_persistent() && !starts {
        let text = "transient domain needs to request run or pause to revert to inactive snapshot";
        return Err(refuse(SnapshotSort::Invalid, text));
    }
    if snapshot.domain.is_none() {
        let why = format!("snapshot '{}' lacks domain '{name}' rollback info", snapshot.name());
        return Err(DomainError::SnapshotRisky { name, why });
    }
    // What it froze may have been written since.
    if let Some(disk) = snapshot.disks().iter().find(|disk| disk.delete_in_progress) {
        let text = format!(
            "snapshot disk '{}' was target of not completed snapshot delete, or a commit has merged it: what it kept is \
             gone. Forget it with snapshot-delete, after a commit with --metadata",
            disk.name()
        );
        return Err(refuse(SnapshotSort::Invalid, text));
    }
    let managed_save = owner.entry.snapshot.load().managed_save;
    if managed_save && !state.is_online() && !options.force {
        let why = "snapshot without memory state, removal of existing managed saved state strongly recommended \
                   to avoid corruption";
        return Err(DomainError::SnapshotRisky { name, why: why.to_owned() });
    }
    match state {
        SnapshotState::PmSuspended => {
            let text = "qemu doesn't support reversion of snapshot taken in PMSUSPENDED state";
            Err(refuse(SnapshotSort::Unsupported, text))
        }
        SnapshotState::NoState | SnapshotState::Blocked => {
            let text = format!("Invalid target domain state '{state}'. Refusing snapshot reversion");
            Err(refuse(SnapshotSort::Internal, text))
        }
        SnapshotState::Running
        | SnapshotState::Paused
        | SnapshotState::Shutdown
        | SnapshotState::Shutoff
        | SnapshotState::Crashed
        | SnapshotState::DiskSnapshot => Ok(()),
    }
}

struct Done {
    tree: SnapshotTree,
    definition: Option<Domain>,
    launched: Option<Launched>,
    /// The guest did not come up afterwards.
    after: Option<DomainError>,
}

/// What became of it.
struct Outcome {
    result: Result<Done, DomainError>,
    snapshot: String,
}

impl Outcome {
    fn end(self, owner: &mut Owner) -> Result<Reply, DomainError> {
        let Done { tree, definition, launched, after } = match self.result {
            Ok(done) => done,
            Err(error) => {
                owner.vanished = !owner.is_persistent();
                owner.forget_snapshots_of_vanished();
                return Err(error);
            }
        };
        owner.take_snapshots(tree, definition.as_ref());
        if definition.is_some() {
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Defined, 3));
        }
        tracing::info!(domain = %owner.name(), snapshot = self.snapshot, "reverted to a snapshot");
        if let Some(error) = after {
            return Err(error);
        }
        let Some(launched) = launched else { return Ok(Reply::Done) };
        let paused = launched.plan.paused;
        owner.advance(Change::StartBegan(lodge_model::JobId(0)), None);
        owner.take_launched_quietly(launched);
        let started = EventKind::Lifecycle(Lifecycle::Started, 3);
        if paused {
            owner.advance(Change::StartedPaused(PausedReason::FromSnapshot), Some(started));
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Suspended, 5));
        } else {
            owner.advance(Change::Started(RunningReason::FromSnapshot), Some(started));
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Resumed, 0));
        }
        Ok(Reply::Done)
    }
}

async fn run(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    snapshot: &DomainSnapshot,
    planned: Planned,
    ticket: &Ticket,
) -> Outcome {
    let name = entry.name();
    let result = async {
        let mut reverting = Reverting::new(shared, entry, planned.plan, ticket.clone());
        let db = shared.config.store.db();
        let log = saga::begin(db, SAGA, &entry.id.to_string(), None, &reverting).await;
        let mut log = log.map_err(|source| DomainError::Db { name: Arc::clone(&name), source })?;
        let steps = steps(&reverting.plan);
        let driven = saga::drive(&steps, &mut reverting, &mut log, &CancellationToken::new()).await;
        driven.map_err(|source| match reverting.refused.take() {
            Some(error) if source.left().is_empty() => error,
            _ => DomainError::Snapshot {
                act: "revert to",
                name: Arc::clone(&name),
                snapshot: snapshot.name().to_owned(),
                source: Box::new(source),
            },
        })?;
        delete::remove_unneeded(shared, entry.id, &name, &planned.left).await;
        Ok(Done {
            tree: planned.tree,
            definition: planned.definition,
            after: reverting.after.take(),
            launched: reverting.launched.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    };
    Outcome { result: result.await, snapshot: snapshot.name().to_owned() }
}

/// Settles a revert that an earlier daemon left. Whether the guest came up is its start's own matter.
pub(super) async fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) {
    let name = entry.name();
    let Ok(plan) = serde_json::from_value::<Plan>(open.saved) else {
        tracing::error!(domain = %name, "the note of an unfinished revert is unreadable");
        return;
    };
    // Images that went back cannot come forward; a guest that was to come up is on its way or is not.
    let is_up = shared.config.store.root().guest(entry.id.0).exists();
    let direction = if plan.launch.is_none() || is_up { Direction::On } else { Direction::Back };
    let mut reverting = Reverting::new(shared, entry, plan, Ticket::default());
    reverting.resumed = true;
    let is_off = !mending::may_run(shared, entry.id).await;
    let inside = if is_off { reverting.plan.images_inside() } else { Vec::new() };
    let mend = mending::note(shared, entry, Images { paths: &inside, keys: &reverting.plan.keys }).await;
    let (steps, mut log) = (steps(&reverting.plan), open.log);
    let cancel = CancellationToken::new();
    match saga::resume(&steps, &mut reverting, &mut log, open.position, direction, &cancel).await {
        Ok(()) => tracing::info!(domain = %name, "an unfinished revert was finished"),
        Err(error) => {
            tracing::warn!(domain = %name, why = %chain(&error), "an unfinished revert was taken back; the guest is off");
        }
    }
    mending::begin(shared, entry.id, mend);
    let (definitions, of) = (shared.config.store.domains().clone(), name.to_string());
    if let Ok(found) = blocking(move || definitions.load(&of)).await
        && entry.documents.load().inactive.is_some()
    {
        let mut documents = Documents::clone(&entry.documents.load());
        documents.inactive = Some(found.text.into());
        entry.documents.store(Arc::new(documents));
    }
}
