//! `virsh snapshot-delete`: removing snapshots, their bytes with them unless something else needs these.
//!
//! ```text
//!  inside       each image (or QEMU) drops its snapshot
//!  new files    the current one: its file is merged into what it stands on, and the guest goes on there
//!               one with a single child: the same, below the guest's own file
//!               (a running guest's by QEMU's block job, see delete/merge.rs)
//!               a side branch's end: nothing of it is needed by the guest; its file goes if nobody needs it
//! ```
//!
//! Before anything happens, storage is asked who needs each file that would go or change: another image, another
//! domain, another snapshot. One answer is enough to refuse, naming who. The merge comes first and can be done again;
//! files are removed last. Deliberately absent: merging below a branch of several children.

mod merge;
mod plan;

pub(super) use plan::own_need;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lodge_model::DomainId;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_store::saga::{self, CancellationToken, Context, Direction, Failure, OpenSaga, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::merge::{Mark, Merge, MergeFiles};
use self::plan::Planned;
use super::images::{self, Images};
use super::records::{HasRecords, Records, WriteDown};
use super::{find, inside, mending};
use crate::act::{Begin, Ended, Reply, ended};
use crate::control::{Running, take_live};
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::index::{Documents, Entry};
use crate::options::{SnapshotDeleteOptions, Ticket};
use crate::owner::Owner;
use crate::ports::{LockedFile, SnapshotVerb};
use crate::start::{file_failure, remove_file};

/// The saga's kind in the store.
pub(crate) const SAGA: &str = "domain-snapshot-delete";

/// What is to be done; saved with the saga.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Plan {
    pub name: String,
    pub records: Records,
    /// Images and the names of the snapshots in them that go.
    pub inside: Vec<(PathBuf, String)>,
    /// Files that are encrypted.
    #[serde(default)]
    pub keys: Vec<LockedFile>,
    pub merges: Vec<Merge>,
    /// What is written down before anything is merged.
    #[serde(default)]
    pub marks: Records,
    /// A running guest's QEMU merges.
    #[serde(default)]
    pub live: bool,
    /// Files that go, each asked about again before it does.
    pub files: Vec<PathBuf>,
    /// Files of memory that go; nothing can stand on them.
    pub memory: Vec<PathBuf>,
}

impl Plan {
    /// The images that lose a snapshot inside.
    fn images_inside(&self) -> Vec<PathBuf> {
        let mut images: Vec<_> = self.inside.iter().map(|(image, _)| image.clone()).collect();
        images.sort();
        images.dedup();
        images
    }
}

struct Deleting {
    shared: Arc<Shared>,
    id: DomainId,
    plan: Plan,
    running: Option<Running>,
    /// Bytes may have changed.
    has_merged: bool,
}

impl Context for Deleting {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.plan).expect("a plan has string keys only")
    }
}

impl HasRecords for Deleting {
    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn records(&self) -> &Records {
        &self.plan.records
    }
}

/// `virsh snapshot-delete`.
pub(crate) fn delete(owner: &mut Owner, name: String, options: SnapshotDeleteOptions) -> Begin {
    let tree = owner.entry.snapshots.load_full();
    if let Err(error) = find(&tree, &owner.name(), &name) {
        return Begin::Now(Err(error));
    }
    let running = match owner.vmm.is_some().then(|| crate::control::running(owner)).transpose() {
        Ok(running) => running,
        Err(error) => return Begin::Now(Err(error)),
    };
    let process = owner.vmm.as_deref().map(|vmm| vmm.process.clone());
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let work = async move {
        let ticket = Ticket { cancel: token.clone(), ..Ticket::default() };
        if let Err(error) = mending::wait(&shared, &entry, "delete a snapshot of", &ticket).await {
            return ended(move |_| Err(error));
        }
        let planned = plan::make(&shared, &entry, running.as_ref(), &tree, &name, options).await;
        let before = tree;
        let Planned { plan, tree, marked, definition } = match planned {
            Ok(planned) => planned,
            Err(error) => return ended(move |_| Err(error)),
        };
        let mut deleting = Deleting { shared, id: entry.id, plan, running, has_merged: false };
        let done = run(&mut deleting, &entry, &name, &token).await;
        let is_unmarked = done.is_err() && unmark(&deleting, &before, &marked).await;
        if let (Err(_), Some(process)) = (&done, &process) {
            let paths = deleting.plan.images_inside();
            let images = Images { paths: &paths, keys: &deleting.plan.keys };
            images::mend_after_end(&deleting.shared, entry.id, &entry.name(), process, images).await;
        }
        let guest = deleting.running.take().filter(|_| deleting.plan.live);
        let end: Ended = ended(move |owner| {
            if let Some(guest) = guest {
                take_live(owner, guest);
            }
            match done {
                Ok(()) => owner.take_snapshots(tree, definition.as_ref()),
                Err(error) => {
                    let kept = if is_unmarked { SnapshotTree::clone(&before) } else { marked };
                    owner.take_snapshots(kept, None);
                    return Err(error);
                }
            }
            tracing::info!(domain = %owner.name(), snapshot = name, "snapshot deleted");
            Ok(Reply::Done)
        });
        end
    };
    Begin::Job { work: Box::pin(work), cancel }
}

/// `cancel`: the guest is to end. Whatever its QEMU does for us ends with it; all else goes on to its end.
async fn run(
    deleting: &mut Deleting,
    entry: &Entry,
    snapshot: &str,
    cancel: &CancellationToken,
) -> Result<(), DomainError> {
    let (shared, name) = (Arc::clone(&deleting.shared), entry.name());
    let db = shared.config.store.db();
    let log = saga::begin(db, SAGA, &entry.id.to_string(), None, &*deleting).await;
    let mut log = log.map_err(|source| DomainError::Db { name: Arc::clone(&name), source })?;
    let cancel = if deleting.plan.live { cancel.clone() } else { CancellationToken::new() };
    let driven = saga::drive(&steps(), deleting, &mut log, &cancel).await;
    driven.map_err(|source| DomainError::Snapshot {
        act: "delete",
        name,
        snapshot: snapshot.to_owned(),
        source: Box::new(source),
    })
}

/// Takes the marks away, where nothing was merged yet: the snapshot is whole. Whether it did.
async fn unmark(deleting: &Deleting, before: &SnapshotTree, marked: &SnapshotTree) -> bool {
    if deleting.has_merged {
        return false;
    }
    let records = Records::between(&deleting.plan.name, marked, before);
    match records.write_all(&deleting.shared).await {
        Ok(()) => true,
        Err(failure) => {
            let why = failure.message;
            tracing::warn!(
                domain = deleting.plan.name,
                why,
                "a snapshot stays marked as merged, which it is not"
            );
            false
        }
    }
}

fn steps() -> Vec<Box<dyn Step<Deleting>>> {
    vec![
        Box::new(Mark),
        Box::new(MergeFiles),
        Box::new(DropInside),
        Box::new(WriteDown),
        Box::new(RemoveFiles),
    ]
}

/// Images drop their snapshots. Whoever fails says which are gone: what is known of them stays until all are.
struct DropInside;

#[async_trait]
impl Step<Deleting> for DropInside {
    fn name(&self) -> &'static str {
        "drop-inside"
    }

    async fn run(&self, deleting: &mut Deleting) -> Result<(), Failure> {
        for (image, name) in &deleting.plan.inside {
            let one = std::slice::from_ref(image);
            match &deleting.running {
                None => {
                    let one = Images { paths: one, keys: &deleting.plan.keys };
                    images::each(&deleting.shared, deleting.id, SnapshotVerb::Delete, one, name).await?;
                }
                Some(running) => {
                    let nodes = inside::having(&running.monitor, name).await;
                    let nodes = nodes.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
                    let removed = inside::remove(&running.monitor, name, &nodes).await;
                    removed.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
                }
            }
        }
        Ok(())
    }

    async fn undo(&self, _deleting: &mut Deleting) -> Result<(), Failure> {
        Ok(())
    }
}

/// Files that nobody needs go.
struct RemoveFiles;

#[async_trait]
impl Step<Deleting> for RemoveFiles {
    fn name(&self) -> &'static str {
        "remove-files"
    }

    async fn run(&self, deleting: &mut Deleting) -> Result<(), Failure> {
        remove_unneeded(&deleting.shared, deleting.id, &deleting.plan.name, &deleting.plan.files).await;
        for path in deleting.plan.memory.clone() {
            remove_file(path.clone()).await.map_err(|error| file_failure("remove", &path, &error))?;
        }
        Ok(())
    }

    async fn undo(&self, _deleting: &mut Deleting) -> Result<(), Failure> {
        Ok(())
    }
}

/// Removes those of `files` that nobody needs; the others stay, and it is told who needs them.
pub(super) async fn remove_unneeded(shared: &Shared, id: DomainId, domain: &str, files: &[PathBuf]) {
    for path in files {
        let kept = match shared.ports.volumes.needed_by(id, path, files).await {
            Ok(None) => match remove_file(path.clone()).await {
                Ok(()) => continue,
                Err(error) => error.to_string(),
            },
            Ok(Some(why)) => why,
            Err(error) => chain(&error),
        };
        tracing::warn!(domain, path = %path.display(), why = kept, "a snapshot's file stays");
    }
}

/// Whether an earlier daemon was to merge files below a guest that is off.
pub(crate) fn merges_while_off(open: &OpenSaga) -> bool {
    let merges =
        || open.saved.get("merges").and_then(Value::as_array).is_some_and(|merges| !merges.is_empty());
    open.kind == SAGA && open.saved.get("live") != Some(&Value::Bool(true)) && merges()
}

/// Settles a deletion that an earlier daemon left: it goes on, since every step of it may be done again.
pub(super) async fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) {
    let name = entry.name();
    let Ok(plan) = serde_json::from_value::<Plan>(open.saved) else {
        tracing::error!(domain = %name, "the note of an unfinished snapshot deletion is unreadable");
        return;
    };
    let mut deleting =
        Deleting { shared: Arc::clone(shared), id: entry.id, plan, running: None, has_merged: true };
    let direction = if deleting.plan.live {
        deleting.running = Running::find(shared, entry).await;
        match &deleting.running {
            Some(guest) => {
                // Its files are its own again before anything is asked about them.
                let adopted = shared.ports.volumes.adopt(entry.id, &guest.document).await;
                if let Err(error) = adopted {
                    tracing::warn!(domain = %name, error = %chain(&error), "a running guest's disks were not taken over");
                }
                Direction::On
            }
            None => Direction::Back,
        }
    } else if shared.config.store.root().guest(entry.id.0).exists() {
        // What QEMU has open is not touched from outside: then only what is written down is brought in line.
        Direction::Back
    } else {
        Direction::On
    };
    let paths = deleting.plan.images_inside();
    let is_off = !mending::may_run(shared, entry.id).await;
    let images = Images { paths: if is_off { &paths } else { &[] }, keys: &deleting.plan.keys };
    let mend = mending::note(shared, entry, images).await;
    let (mut log, cancel) = (open.log, CancellationToken::new());
    let settled = saga::resume(&steps(), &mut deleting, &mut log, open.position, direction, &cancel).await;
    if let Err(error) = settled {
        tracing::info!(domain = %name, why = %chain(&error), "an unfinished snapshot deletion was given up; delete it again");
    }
    mending::begin(shared, entry.id, mend);
    let (definitions, of) = (shared.config.store.domains().clone(), name.to_string());
    if let Ok(found) = crate::define::blocking(move || definitions.load(&of)).await
        && entry.documents.load().inactive.is_some()
    {
        let mut documents = Documents::clone(&entry.documents.load());
        documents.inactive = Some(found.text.into());
        entry.documents.store(Arc::new(documents));
    }
}
