//! Use cases of a domain's snapshots.

use lodge_api::{
    DomainView, SnapshotCreate, SnapshotDelete, SnapshotRevert, SnapshotView, SnapshotXmlOptions,
};
use lodge_domain::{self as verb, Ticket};
use lodge_model::Kind;
use lodge_model::snapshot::{DomainSnapshot, Location, tree::SnapshotTree};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

impl Engine {
    /// A domain's snapshots, parents before their children.
    #[crate::boxed]
    pub async fn snapshots(&self, _caller: &Caller, dom: &str) -> Result<Vec<SnapshotView>> {
        let handle = self.find_domain(dom)?;
        let (tree, name) = (handle.snapshots(), handle.name());
        Ok(tree.descendants(None).into_iter().map(|snapshot| view(&tree, &name, snapshot)).collect())
    }

    /// One of them.
    #[crate::boxed]
    pub async fn snapshot(&self, _caller: &Caller, dom: &str, snapshot: &str) -> Result<SnapshotView> {
        let handle = self.find_domain(dom)?;
        let found = handle.find_snapshot(snapshot)?;
        Ok(view(&handle.snapshots(), &handle.name(), &found))
    }

    /// Its document.
    #[crate::boxed]
    pub async fn snapshot_xml(
        &self,
        _caller: &Caller,
        dom: &str,
        snapshot: &str,
        options: SnapshotXmlOptions,
    ) -> Result<String> {
        Ok(self.find_domain(dom)?.find_snapshot(snapshot)?.to_xml(options.security_info))
    }

    /// Takes a snapshot.
    #[crate::boxed]
    pub async fn create_snapshot(
        &self,
        caller: &Caller,
        dom: &str,
        xml: String,
        options: SnapshotCreate,
    ) -> Result<SnapshotView> {
        caller.may_change()?;
        let options = wanted(options)?;
        let handle = self.find_domain(dom)?;
        let name = handle.create_snapshot(xml, options, Ticket::default()).await?;
        let tree = handle.snapshots();
        match tree.get(&name) {
            Some(snapshot) => Ok(view(&tree, &handle.name(), snapshot)),
            // Nothing is known of it, as it was asked for.
            None => Ok(SnapshotView { name, domain: handle.name().to_string(), ..SnapshotView::default() }),
        }
    }

    /// Goes back to a snapshot.
    #[crate::boxed]
    pub async fn revert_to_snapshot(
        &self,
        caller: &Caller,
        dom: &str,
        snapshot: &str,
        options: SnapshotRevert,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let SnapshotRevert { running, paused, force, reset_nvram } = options;
        if running && paused {
            return Err(EngineError::new(Kind::InvalidInput, "`running` and `paused` exclude each other"));
        }
        let options = verb::SnapshotRevertOptions { running, paused, force, reset_nvram };
        let handle = self.find_domain(dom)?;
        handle.revert_to_snapshot(snapshot.to_owned(), options, Ticket::default()).await?;
        Ok(self.view_of(&handle))
    }

    /// Removes a snapshot, or what came from it, or both.
    #[crate::boxed]
    pub async fn delete_snapshot(
        &self,
        caller: &Caller,
        dom: &str,
        snapshot: &str,
        options: SnapshotDelete,
    ) -> Result<()> {
        caller.may_change()?;
        let SnapshotDelete { children, children_only, metadata } = options;
        if children && children_only {
            return Err(EngineError::new(
                Kind::InvalidInput,
                "`children` and `children_only` exclude each other",
            ));
        }
        let options = verb::SnapshotDeleteOptions { children, children_only, metadata };
        Ok(self.find_domain(dom)?.delete_snapshot(snapshot.to_owned(), options).await?)
    }
}

/// What the caller wants of a new snapshot, if it can be had together.
fn wanted(options: SnapshotCreate) -> Result<verb::SnapshotCreateOptions> {
    let SnapshotCreate {
        redefine,
        current,
        no_metadata,
        halt,
        disk_only,
        reuse_external,
        quiesce,
        live,
        validate,
    } = options;
    let exclusive = [
        (
            redefine && (no_metadata || halt || live),
            "`redefine` takes no snapshot, so it goes with none of them",
        ),
        (current && !redefine, "`current` goes with `redefine` only"),
        (quiesce && !disk_only, "`quiesce` goes with `disk_only` only"),
    ];
    if let Some((_, why)) = exclusive.into_iter().find(|(is, _)| *is) {
        return Err(EngineError::new(Kind::InvalidInput, why));
    }
    Ok(verb::SnapshotCreateOptions {
        redefine,
        current,
        no_metadata,
        halt,
        disk_only,
        reuse_external,
        quiesce,
        live,
        validate,
    })
}

fn view(tree: &SnapshotTree, domain: &str, snapshot: &DomainSnapshot) -> SnapshotView {
    let name = snapshot.name();
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    SnapshotView {
        name: name.to_owned(),
        domain: domain.to_owned(),
        description: snapshot.description.clone(),
        state: snapshot.state().as_str().to_owned(),
        location: if snapshot.is_external() { "external" } else { "internal" }.to_owned(),
        current: tree.is_current(name),
        parent: tree.parent(name).map(|parent| parent.name().to_owned()),
        children: count(tree.children(Some(name)).len()),
        descendants: count(tree.descendants(Some(name)).len()),
        created_ms: u64::try_from(snapshot.creation_time.unwrap_or_default())
            .unwrap_or(0)
            .saturating_mul(1000),
        memory: snapshot.memory() != Location::No,
    }
}
