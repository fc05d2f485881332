//! Snapshots of a domain: taking, reverting to, deleting them, and what is known of them.
//!
//! ```text
//!  create ─┬─ off:  images.rs (inside each qcow2) · overlay.rs (new files above)
//!          └─ on:   inside.rs (QMP snapshot-save, memory too) · overlay.rs ▶ memory.rs ▶ switch.rs (new files above)
//!  revert ─── end the guest ▶ bytes back ▶ documents back ▶ start, where the snapshot ran
//!  delete ─── merge · remove · only forget
//! ```
//!
//! What is known of a snapshot is libvirt's `<domainsnapshot>` in libvirt's place; the tree of all of them is in the
//! domain's entry, for readers. Each act is a saga: all that can be taken back comes first, what cannot comes last, so
//! that a failure or a crash leaves the old or the new. Bytes that anything else needs are never removed: who needs
//! them is asked of storage at the moment of removal, never derived from the tree alone.
//! Deliberately absent: checkpoints, and snapshots of what is no qcow2 or raw file.

mod create;
mod delete;
mod images;
mod inside;
mod keys;
mod memory;
mod mending;
pub(crate) mod merged;
mod overlay;
mod quiesce;
mod records;
mod redefine;
mod revert;
mod switch;

use std::sync::Arc;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, SnapshotFault, SnapshotSort};
use lodge_qemu::qmp::Monitor;
use lodge_store::saga::{Failure, OpenSaga};

use crate::act::Ended;
use crate::define::blocking;
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::handle::Handle;
use crate::index::Entry;
use crate::owner::Owner;
use crate::snapshot::Snapshot;
use crate::start::LoadSnapshot;

pub(crate) use create::{SAGA as CREATE_SAGA, create};
pub(crate) use delete::{SAGA as DELETE_SAGA, delete, merges_while_off};
pub(crate) use mending::{Mending, SAGA as MEND_SAGA, resume as resume_mending, wait as wait_until_mended};
pub(crate) use revert::{SAGA as REVERT_SAGA, revert};

impl Handle {
    /// One snapshot by name.
    pub fn find_snapshot(&self, name: &str) -> Result<Arc<DomainSnapshot>, DomainError> {
        find(&self.snapshots(), &self.name(), name)
    }
}

fn find(tree: &SnapshotTree, domain: &Arc<str>, name: &str) -> Result<Arc<DomainSnapshot>, DomainError> {
    let missing = || DomainError::NoSnapshot { name: Arc::clone(domain), snapshot: name.to_owned() };
    tree.get(name).cloned().ok_or_else(missing)
}

/// Reads what is known of a domain's snapshots. What cannot be read is told and left as it is.
pub(crate) fn load(shared: &Shared, domain: &str) -> SnapshotTree {
    let files = match shared.config.store.snapshots().load(domain) {
        Ok(files) => files,
        Err(error) => {
            tracing::error!(domain, error = %chain(&error), "the snapshots could not be read");
            return SnapshotTree::default();
        }
    };
    let read = files.into_iter().filter_map(|(path, text)| {
        let snapshot = text
            .map_err(|error| error.to_string())
            .and_then(|text| DomainSnapshot::parse_file(&text).map_err(|fault| fault.to_string()));
        match snapshot {
            Ok(snapshot) => Some(snapshot),
            Err(why) => {
                tracing::error!(domain, path = %path.display(), why, "a snapshot is not valid and was left out");
                None
            }
        }
    });
    let (tree, odd) = SnapshotTree::of(read);
    for what in odd {
        tracing::warn!(domain, what, "the snapshots do not fit together");
    }
    tree
}

/// Takes what is in the files for what there is.
pub(crate) async fn reload(shared: &Arc<Shared>, entry: &Arc<Entry>) {
    let (of, name) = (Arc::clone(shared), entry.name());
    let tree = blocking(move || load(&of, &name)).await;
    let count = tree.len();
    entry.snapshots.store(Arc::new(tree));
    entry.snapshot.rcu(|view| Snapshot { snapshots: count, ..Snapshot::clone(view) });
}

impl Owner {
    /// These are the snapshots now, and `definition` is the definition where it changed.
    pub(crate) fn take_snapshots(&mut self, tree: SnapshotTree, definition: Option<&Domain>) {
        let count = tree.len();
        self.entry.snapshots.store(Arc::new(tree));
        if let Some(domain) = definition {
            let xml: Arc<str> = domain.to_xml(&lodge_model::xml::WriteOptions::STORED).into();
            self.take_definition(xml, domain);
        }
        self.amend_snapshot(|snapshot| snapshot.snapshots = count);
        self.publish_snapshot();
    }

    /// Nothing is known of its snapshots any more; the files are gone.
    pub(crate) fn forget_snapshots(&mut self) {
        self.entry.snapshots.store(Arc::default());
        self.amend_snapshot(|snapshot| snapshot.snapshots = 0);
    }
}

/// Finishes or takes back what an earlier daemon left of a snapshot. `None`: the guest is to be looked for.
pub(crate) async fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) -> Option<Ended> {
    match open.kind.as_str() {
        CREATE_SAGA => create::resume(shared, entry, open).await,
        REVERT_SAGA => revert::resume(shared, entry, open).await,
        _ => delete::resume(shared, entry, open).await,
    }
    reload(shared, entry).await;
    None
}

/// Gives a QEMU whose processors have not run yet the state of a snapshot in its images.
pub(crate) async fn load_inside(
    monitor: &Monitor,
    document: &Domain,
    load: &LoadSnapshot,
) -> Result<(), Failure> {
    let node = |target: &String| {
        let disk = document.devices.disks.iter().find(|disk| disk.target.dev == *target);
        disk.and_then(inside::node_of)
            .ok_or_else(|| Failure::new(Kind::Internal, format!("the node of disk '{target}' is not known")))
    };
    let nodes: Vec<String> = load.disks.iter().map(node).collect::<Result<_, _>>()?;
    let loaded = inside::load(monitor, &load.name, &nodes).await;
    loaded.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))
}

/// A refusal of libvirt's QEMU driver.
fn refuse(sort: SnapshotSort, text: impl Into<String>) -> DomainError {
    SnapshotFault::of_qemu(sort, text).into()
}
