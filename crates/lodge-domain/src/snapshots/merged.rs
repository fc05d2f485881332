//! What a block job that somebody asks for does to the guest's own snapshots.
//!
//! A commit writes into a file that an external snapshot may have frozen: that state is gone, as with libvirt, whose
//! users commit their way back after each backup. The snapshot is marked before the first byte changes, so that nobody
//! goes back to what it never was. A snapshot inside a file shows, where it has no bytes of its own, the files below as
//! they are: a job that changes or drops those is refused.

use std::path::PathBuf;
use std::sync::Arc;

use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, Location};

use super::records::Records;
use crate::block_job::layers::Layer;
use crate::control::{Refusal, Running};

/// Refuses what would change what snapshots inside these layers show.
pub(crate) fn refuse_inside(guest: &Running, target: &str, layers: &[Layer]) -> Result<(), Refusal> {
    let tree = guest.entry.snapshots.load_full();
    for snapshot in tree.all() {
        let Some((path, Location::Internal)) = place(snapshot, target) else { continue };
        if layers.iter().any(|layer| layer.path == path) {
            let text = format!(
                "snapshot '{}' lies inside '{path}' and shows what that stands on: delete the snapshot first",
                snapshot.name()
            );
            return Err(Refusal::unsupported(text));
        }
    }
    Ok(())
}

/// Marks the snapshots that froze one of these layers, which are written or dropped now. Gives the snapshots as they
/// were, if any was marked.
pub(crate) async fn mark(
    guest: &Running,
    target: &str,
    layers: &[Layer],
) -> Result<Option<Arc<SnapshotTree>>, Refusal> {
    let before = guest.entry.snapshots.load_full();
    let mut after = SnapshotTree::clone(&before);
    let mut is_changed = false;
    for snapshot in before.all() {
        let Some((path, Location::External)) = place(snapshot, target) else { continue };
        if !layers.iter().any(|layer| layer.path == path) {
            continue;
        }
        tracing::info!(domain = %guest.id, snapshot = snapshot.name(), path, "a commit merges what this snapshot kept");
        let mut changed = DomainSnapshot::clone(snapshot);
        for disk in changed.disks.iter_mut().flat_map(|disks| &mut disks.disks) {
            disk.delete_in_progress |= disk.name() == target;
        }
        is_changed |= changed != **snapshot;
        after.insert(changed);
    }
    if !is_changed {
        return Ok(None);
    }
    write(guest, &before, after).await?;
    Ok(Some(before))
}

/// Takes the marks away: the job did not begin.
pub(crate) async fn unmark(guest: &Running, before: Option<Arc<SnapshotTree>>) {
    let Some(before) = before else { return };
    let now = guest.entry.snapshots.load_full();
    if let Err(refusal) = write(guest, &now, SnapshotTree::clone(&before)).await {
        tracing::warn!(domain = %guest.id, error = refusal.text, "snapshots stay marked as merged, which they are not");
    }
}

async fn write(guest: &Running, before: &SnapshotTree, after: SnapshotTree) -> Result<(), Refusal> {
    let records = Records::between(&guest.entry.name(), before, &after);
    let written = records.write_all(&guest.shared).await;
    written.map_err(|failure| {
        Refusal::internal(format!("cannot mark snapshots as merged: {}", failure.message))
    })?;
    guest.entry.snapshots.store(Arc::new(after));
    Ok(())
}

/// The files that the guest's snapshots, and its reverts to them, made of a disk.
pub(crate) fn branches(guest: &Running, target: &str) -> Vec<PathBuf> {
    let tree = guest.entry.snapshots.load();
    let made = tree.all().flat_map(|snapshot| {
        let since = snapshot.revert_disks.iter().flat_map(|disks| &disks.disks);
        snapshot.disks().iter().chain(since)
    });
    let own = made.filter(|disk| disk.name() == target && disk.location() == Location::External);
    own.filter_map(|disk| disk.path().map(PathBuf::from)).collect()
}

/// The file that had the disk when the snapshot was taken, and where its state is.
fn place<'a>(snapshot: &'a DomainSnapshot, target: &str) -> Option<(&'a str, Location)> {
    let state = snapshot.disks().iter().find(|disk| disk.name() == target)?;
    let domain = snapshot.domain.as_deref()?;
    let disk = domain.devices.disks.iter().find(|disk| disk.target.dev == target)?;
    Some((disk.path()?, state.location()))
}
