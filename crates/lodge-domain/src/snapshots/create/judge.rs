//! A snapshot's document as it is to be: completed, aligned with the guest's disks, and in the tree.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{Defaults, DomainSnapshot, Location, SnapshotFault, SnapshotSort, SnapshotState};

use super::super::refuse;
use super::Guest;
use crate::block_job::{BlockJobs, refuse_busy};
use crate::control::Refusal;
use crate::define::{blocking, parse, parse_inactive, render};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::options::{SnapshotCreateOptions, XmlOptions};
use crate::record::unix_ms;

/// The document as it is to be, and the domain's that it is of.
pub(super) async fn judge(
    shared: &Shared,
    entry: &Arc<Entry>,
    guest: Option<&Guest>,
    xml: &str,
    options: SnapshotCreateOptions,
) -> Result<(DomainSnapshot, Domain), DomainError> {
    let offline = options.disk_only || guest.is_none();
    let mut snapshot = DomainSnapshot::parse_request(xml, offline, options.validate)?;
    snapshot.complete(i64::try_from(unix_ms(SystemTime::now()) / 1000).unwrap_or_default());
    if !options.no_metadata {
        snapshot.check_name()?;
    }
    if options.live && (guest.is_none() || snapshot.memory() != Location::External) {
        let text = "live snapshot creation is supported only during full system snapshots";
        return Err(refuse(SnapshotSort::Unsupported, text));
    }
    // What every host adds by itself comes anew, and last: libvirt keeps the document in that order.
    let shown = XmlOptions { inactive: false, migratable: true, security_info: true };
    let mut domain = parse(&render(entry, shown)?)?;
    let platform = shared.platform(domain.os.kind.arch.as_deref());
    domain.complete(platform).map_err(|faults| DomainError::Document { faults })?;
    let definition = parse_inactive(entry)?;
    if let (Some(_), Some(definition)) = (guest, &definition) {
        forget_seen_chains(&mut domain, definition);
    }
    snapshot.domain = Some(Box::new(domain.clone()));
    snapshot.inactive_domain = definition.filter(|_| guest.is_some()).map(Box::new);
    let asked = snapshot.memory.as_ref().and_then(|memory| memory.snapshot);
    let location = match guest {
        _ if options.disk_only => {
            let online = guest.is_some();
            let state = if online { SnapshotState::DiskSnapshot } else { SnapshotState::Shutoff };
            snapshot.set_state(state, Location::No);
            Location::External
        }
        Some(guest) if asked == Some(Location::External) => {
            snapshot.set_state(guest.state, Location::External);
            Location::External
        }
        Some(_) if asked == Some(Location::No) => {
            let text = "internal snapshot of a running VM must include the memory state";
            return Err(refuse(SnapshotSort::Unsupported, text));
        }
        Some(guest) => {
            snapshot.set_state(guest.state, Location::Internal);
            Location::Internal
        }
        None => {
            snapshot.set_state(SnapshotState::Shutoff, Location::No);
            Location::Internal
        }
    };
    let of = domain.clone();
    let aligned: Result<DomainSnapshot, SnapshotFault> = blocking(move || {
        let is_file = |path: &Path| path.is_file();
        snapshot.align(&of, Defaults { location, uniform: true, is_file: &is_file })?;
        Ok(snapshot)
    })
    .await;
    let aligned = aligned?;
    if let Some(guest) = guest
        && aligned.memory() == Location::External
        && !BlockJobs::read(&guest.running.dir).all().is_empty()
    {
        // As for a save.
        return Err(Refusal::invalid("domain has active block job").into());
    }
    for (disk, own) in aligned.disks().iter().zip(&domain.devices.disks) {
        if let Some(guest) = guest
            && disk.location() != Location::No
        {
            refuse_busy(&guest.running, &own.target.dev)?;
        }
        if guest.is_some() && own.transient && disk.location() != Location::No {
            let text = format!(
                "snapshots of the transient disk '{}' of a running guest are not supported",
                disk.name()
            );
            return Err(refuse(SnapshotSort::Unsupported, text));
        }
    }
    Ok((aligned, domain))
}

/// What a running guest's disks were seen to stand on is not the document's word: images say it themselves.
fn forget_seen_chains(domain: &mut Domain, definition: &Domain) {
    for disk in &mut domain.devices.disks {
        let own = definition.devices.disks.iter().find(|own| own.target.dev == disk.target.dev);
        if let Some(own) = own.filter(|own| own.path() == disk.path()) {
            disk.backing_store.clone_from(&own.backing_store);
        }
    }
}

/// The new one is the current one; the old one no longer has files that a revert to it made.
pub(super) fn put_in(tree: &mut SnapshotTree, snapshot: &DomainSnapshot, old: &SnapshotTree) {
    let mut snapshot = snapshot.clone();
    let current = old.current();
    snapshot.set_parent(current.map(|current| current.name()));
    if let Some(current) = current.filter(|current| current.revert_disks.is_some()) {
        tree.insert(DomainSnapshot { revert_disks: None, ..DomainSnapshot::clone(current) });
    }
    let name = snapshot.name().to_owned();
    tree.insert(snapshot);
    tree.set_current(Some(&name));
}
