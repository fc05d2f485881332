//! `virsh snapshot-create --redefine`: what is known of a snapshot is given back, or changed. No disk is touched.

use std::sync::Arc;

use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{Defaults, DomainSnapshot, Location};
use lodge_store::saga::SagaError;

use super::records::Records;
use crate::act::{Begin, Reply, ended};
use crate::error::DomainError;
use crate::options::SnapshotCreateOptions;
use crate::owner::Owner;

/// Gives a snapshot back.
pub(super) fn redefine(owner: &mut Owner, xml: &str, options: SnapshotCreateOptions) -> Begin {
    match judge(owner, xml, options) {
        Ok((tree, name)) => keep(owner, tree, name),
        Err(error) => Begin::Now(Err(error)),
    }
}

fn judge(
    owner: &Owner,
    xml: &str,
    options: SnapshotCreateOptions,
) -> Result<(SnapshotTree, String), DomainError> {
    let mut snapshot = DomainSnapshot::parse_redefinition(xml, options.validate)?;
    snapshot.check_name()?;
    let old = owner.entry.snapshots.load();
    let name = snapshot.name().to_owned();
    let before = old.get(&name);
    old.check_parent(&snapshot)?;
    snapshot.check_redefinition(owner.entry.id, before.map(|before| &**before), options.disk_only)?;
    // One that lacks the guest's document keeps the one that is known.
    if let (None, Some(before)) = (&snapshot.domain, before) {
        snapshot.domain.clone_from(&before.domain);
    }
    if let Some(domain) = snapshot.domain.clone() {
        let location = if snapshot.is_external() { Location::External } else { Location::Internal };
        let is_file = |_: &std::path::Path| true;
        snapshot.align(&domain, Defaults { location, uniform: false, is_file: &is_file })?;
    }
    let mut tree = SnapshotTree::clone(&old);
    tree.insert(snapshot);
    if options.current {
        let current = old.current().filter(|current| current.name() != name);
        if let Some(current) = current.filter(|current| current.revert_disks.is_some()) {
            tree.insert(DomainSnapshot { revert_disks: None, ..DomainSnapshot::clone(current) });
        }
        tree.set_current(Some(&name));
    }
    Ok((tree, name))
}

fn keep(owner: &Owner, tree: SnapshotTree, snapshot: String) -> Begin {
    let (shared, name) = (Arc::clone(&owner.shared), owner.name());
    let records = Records::between(&name, &owner.entry.snapshots.load(), &tree);
    Begin::job(async move {
        let written = records.write_all(&shared).await;
        ended(move |owner| match written {
            Ok(()) => {
                owner.take_snapshots(tree, None);
                Ok(Reply::Snapshot(snapshot))
            }
            Err(failure) => Err(DomainError::Snapshot {
                act: "redefine",
                name,
                snapshot,
                source: Box::new(SagaError::Failed { failure, left: Vec::new() }),
            }),
        })
    })
}
