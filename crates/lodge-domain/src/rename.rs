//! `virsh domrename`: another name for a domain that is shut off; its UUID stays.
//!
//! While it lasts both names are the domain's in the table, so nobody else gets either.
//! Deliberately absent: the files' two-step change, which survives a crash (lodge-store).

use std::sync::Arc;

use lodge_model::xml::WriteOptions;

use crate::act::{Begin, Reply, ended};
use crate::define::{self, blocking};
use crate::error::DomainError;
use crate::event::{EventKind, Lifecycle};
use crate::owner::Owner;
use crate::save;

/// `virsh domrename`.
pub(crate) fn rename(owner: &mut Owner, new: String) -> Begin {
    let old = owner.name();
    if let Err(why) = may(owner, &new) {
        return Begin::Now(Err(why));
    }
    let Some(text) = owner.entry.documents.load().inactive.clone() else {
        return Begin::Now(Err(DomainError::Transient { act: "rename", name: old }));
    };
    let renamed = define::parse(&text).map(|mut domain| {
        domain.name.clone_from(&new);
        domain
    });
    let renamed = match renamed {
        Ok(renamed) => renamed,
        Err(error) => return Begin::Now(Err(error)),
    };
    if let Err(error) = owner.shared.index.claim_name(&owner.entry, &new) {
        return Begin::Now(Err(error));
    }
    let definitions = owner.shared.config.store.domains().clone();
    let snapshots = owner.shared.config.store.snapshots();
    Begin::job(async move {
        let xml: Arc<str> = renamed.to_xml(&WriteOptions::STORED).into();
        let (from, to, text) = (Arc::clone(&old), new.clone(), Arc::clone(&xml));
        let written = blocking(move || {
            // Whatever is known of snapshots is found by the name, so it goes first, and back if the rest fails.
            snapshots.rename(&from, &to).map_err(DomainError::SnapshotFile)?;
            definitions.rename(&from, &to, &text).map_err(|error| {
                if let Err(error) = snapshots.rename(&to, &from) {
                    tracing::error!(domain = %from, error = %crate::error::chain(&error), "the snapshots kept the new name");
                }
                DomainError::Definition(error)
            })
        });
        let written = written.await;
        ended(move |owner| {
            if let Err(error) = written {
                owner.shared.index.drop_name(&owner.entry, &new);
                return Err(error);
            }
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Undefined, 1));
            owner.take_definition(xml, &renamed);
            owner.amend_snapshot(|snapshot| snapshot.name = new.as_str().into());
            owner.shared.index.drop_name(&owner.entry, &old);
            owner.publish_snapshot();
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Defined, 2));
            tracing::info!(domain = new, was = %old, "domain renamed");
            Ok(Reply::Done)
        })
    })
}

fn may(owner: &Owner, new: &str) -> Result<(), DomainError> {
    let name = owner.name();
    let refuse = |why| Err(DomainError::CannotRename { name: Arc::clone(&name), why });
    if owner.vmm.is_some() {
        return refuse("cannot rename active domain");
    }
    if !owner.is_persistent() {
        return refuse("cannot rename a transient domain");
    }
    if *new == *name {
        return refuse("Can't rename domain to itself");
    }
    if save::managed_path(&owner.shared, &name).exists() {
        return refuse("domain with a managed saved state can't be renamed");
    }
    Ok(())
}
