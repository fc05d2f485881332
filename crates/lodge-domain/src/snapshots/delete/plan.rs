//! What a deletion would do, and whether it may.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lodge_model::domain::Domain;
use lodge_model::domain::disk::BackingStore;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, Location, SnapshotSort};
use lodge_model::xml::Kept;

use super::super::records::Records;
use super::super::{images, keys, refuse};
use super::Plan;
use super::merge::{Merge, stands_elsewhere};
use crate::block_job;
use crate::block_job::layers::{layers, paths};
use crate::control::Running;
use crate::define::{blocking, parse_inactive};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::options::SnapshotDeleteOptions;

/// The plan, and how things are once it is done.
pub(super) struct Planned {
    pub plan: Plan,
    pub tree: SnapshotTree,
    /// The snapshots while files are merged, and if that fails.
    pub marked: SnapshotTree,
    pub definition: Option<Domain>,
}

/// Plans the deletion of `snapshot`, of those below it, or of both.
pub(super) async fn make(
    shared: &Arc<Shared>,
    entry: &Entry,
    running: Option<&Running>,
    tree: &SnapshotTree,
    snapshot: &str,
    options: SnapshotDeleteOptions,
) -> Result<Planned, DomainError> {
    let name = entry.name();
    let doomed = doomed(tree, snapshot, options);
    let mut new = tree.clone();
    // The ends of branches first, so that no child is handed up to one that goes too.
    for gone in doomed.iter().rev() {
        new.remove(gone.name());
    }
    let definition = parse_inactive(entry)?;
    let keys = keys::of_all(definition.as_ref(), tree);
    let mut plan = Plan { name: name.to_string(), keys, ..Plan::default() };
    let (mut after, mut live) = (definition.clone(), running.map(|running| running.document.clone()));
    if !options.metadata {
        check(tree, snapshot, &doomed, running, options)?;
        for gone in &doomed {
            if gone.is_external() {
                external(shared, entry, running, tree, gone, definition.as_ref(), &mut plan).await?;
                follow(&mut new, gone, &plan.merges);
                for document in [&mut after, &mut live].into_iter().flatten() {
                    below(document, &plan.merges);
                }
            } else {
                inside(gone, running, &mut plan)?;
            }
        }
    }
    keep_own(&mut plan, &new, &after.iter().chain(&live).collect::<Vec<_>>());
    plan.live = running.is_some() && !plan.merges.is_empty();
    if plan.live {
        // The block job keeps it, while the processors stand still: no step of ours takes that back.
        after.clone_from(&definition);
    }
    let marked = marked(tree, &doomed, &plan.merges);
    plan.marks = Records::between(&name, tree, &marked);
    plan.records = Records::between(&name, &marked, &new);
    if let (Some(before), Some(after)) = (&definition, &after) {
        plan.records = plan.records.with_definition(before, after);
    }
    let definition = after.filter(|after| definition.as_ref() != Some(after));
    Ok(Planned { plan, tree: new, marked, definition })
}

/// The snapshots with those marked whose state goes while files are merged.
fn marked(tree: &SnapshotTree, doomed: &[Arc<DomainSnapshot>], merges: &[Merge]) -> SnapshotTree {
    let mut marked = tree.clone();
    for gone in doomed {
        let mut changed = DomainSnapshot::clone(gone);
        for disk in changed.disks.iter_mut().flat_map(|disks| &mut disks.disks) {
            let own =
                |merge: &Merge| merge.target == disk.name() && disk.path().map(Path::new) == Some(&merge.top);
            disk.delete_in_progress |= merges.iter().any(own);
        }
        if changed != **gone {
            marked.insert(changed);
        }
    }
    marked
}

/// Takes files off the list that the domain itself needs afterwards.
fn keep_own(plan: &mut Plan, after: &SnapshotTree, documents: &[&Domain]) {
    let name = plan.name.clone();
    plan.files.retain(|path| match own_need(after, documents.iter().copied(), path) {
        None => true,
        Some(who) => {
            tracing::warn!(domain = name, path = %path.display(), why = format!("{who} needs it"), "a snapshot's file stays");
            false
        }
    });
}

/// What of the domain's own needs the bytes of a file: a document's disk, or a snapshot that froze it.
pub(in crate::snapshots) fn own_need<'a>(
    tree: &SnapshotTree,
    documents: impl Iterator<Item = &'a Domain>,
    path: &Path,
) -> Option<String> {
    let names = |domain: &Domain, target: Option<&str>| {
        let disks =
            domain.devices.disks.iter().filter(|disk| target.is_none_or(|dev| disk.target.dev == dev));
        let mut paths = disks.flat_map(|disk| {
            let store =
                std::iter::successors(disk.backing_store.as_deref(), |at| at.backing_store.as_deref());
            let below = store.filter_map(|at| at.source.as_deref()?.file.as_deref());
            disk.path().into_iter().chain(below)
        });
        paths.any(|own| Path::new(own) == path)
    };
    let mut documents = documents;
    if documents.any(|domain| names(domain, None)) {
        return Some("the domain's own disk".to_owned());
    }
    let froze = |snapshot: &&Arc<DomainSnapshot>| {
        let Some(domain) = snapshot.domain.as_deref() else { return false };
        snapshot
            .disks()
            .iter()
            .any(|disk| disk.location() != Location::No && names(domain, Some(disk.name())))
    };
    tree.all().find(froze).map(|snapshot| format!("snapshot '{}'", snapshot.name()))
}

/// Those that go, parents before their children.
fn doomed(tree: &SnapshotTree, snapshot: &str, options: SnapshotDeleteOptions) -> Vec<Arc<DomainSnapshot>> {
    let mut doomed = Vec::new();
    if !options.children_only {
        doomed.extend(tree.get(snapshot).cloned());
    }
    if options.children || options.children_only {
        doomed.extend(tree.descendants(Some(snapshot)).into_iter().cloned());
    }
    doomed
}

/// libvirt's own limits.
fn check(
    tree: &SnapshotTree,
    snapshot: &str,
    doomed: &[Arc<DomainSnapshot>],
    running: Option<&Running>,
    options: SnapshotDeleteOptions,
) -> Result<(), DomainError> {
    let unsupported = |text: &str| Err(refuse(SnapshotSort::ConfigUnsupported, text));
    let Some(own) = tree.get(snapshot) else { return Ok(()) };
    if let Some(running) = running {
        for one in doomed.iter().filter(|one| !one.is_external()) {
            same_images(one, running)?;
        }
    }
    let is_below = |one: &&Arc<DomainSnapshot>| one.name() != snapshot;
    let below = || doomed.iter().filter(is_below);
    let external = below().any(|one| one.is_external());
    if external && below().any(|one| !one.is_external()) {
        return unsupported("deletion of external and internal children disk snapshots not supported");
    }
    if external {
        return unsupported("deletion of external children disk snapshots not supported");
    }
    if !own.is_external() || options.children_only {
        return Ok(());
    }
    if options.children {
        return unsupported("deletion of external disk snapshots with children not supported");
    }
    let children = tree.children(Some(snapshot));
    let current = tree.current().map(|current| current.name().to_owned());
    if !children.is_empty() && tree.is_current(snapshot) {
        return unsupported(
            "deletion of active external snapshot that is not a leaf snapshot is not supported",
        );
    }
    if !children.is_empty() && !current.is_some_and(|current| tree.is_ancestor(snapshot, &current)) {
        return unsupported(
            "deletion of non-leaf external snapshot that is not in active chain is not supported",
        );
    }
    if children.len() > 1 {
        return unsupported(
            "deletion of external disk snapshot with multiple children snapshots not supported",
        );
    }
    Ok(())
}

fn same_images(snapshot: &DomainSnapshot, running: &Running) -> Result<(), DomainError> {
    for disk in snapshot.disks().iter().filter(|disk| disk.location() == Location::Internal) {
        let path = |domain: &Domain| {
            let found = domain.devices.disks.iter().find(|own| own.target.dev == disk.name());
            found.and_then(|own| own.path().map(str::to_owned))
        };
        let then = snapshot.domain.as_deref().and_then(path);
        if then != path(&running.document) {
            let text = format!(
                "disk image '{}' for internal snapshot '{}' is not the same as disk image currently used by VM",
                disk.name(),
                snapshot.name()
            );
            return Err(refuse(SnapshotSort::Unsupported, text));
        }
    }
    Ok(())
}

fn inside(gone: &DomainSnapshot, running: Option<&Running>, plan: &mut Plan) -> Result<(), DomainError> {
    let domain = gone.domain.as_deref().or(running.map(|running| &running.document));
    let Some(domain) = domain else { return Ok(()) };
    for image in images::of(gone, domain)?.into_iter().chain(images::variables(domain)) {
        plan.inside.push((image, gone.name().to_owned()));
    }
    Ok(())
}

async fn external(
    shared: &Arc<Shared>,
    entry: &Entry,
    running: Option<&Running>,
    tree: &SnapshotTree,
    gone: &DomainSnapshot,
    definition: Option<&Domain>,
    plan: &mut Plan,
) -> Result<(), DomainError> {
    plan.memory.extend(gone.memory_file().map(PathBuf::from));
    let Some(then) = gone.domain.as_deref() else {
        let text = format!("snapshot '{}' lacks domain '{}' rollback info", gone.name(), plan.name);
        return Err(refuse(SnapshotSort::Invalid, text));
    };
    let is_side = !tree.is_current(gone.name()) && tree.children(Some(gone.name())).is_empty();
    for disk in gone.disks().iter().filter(|disk| disk.location() == Location::External) {
        let own = then.devices.disks.iter().find(|own| own.target.dev == disk.name());
        let (Some(base), Some(own)) = (own.and_then(|own| own.path()), own) else {
            let text = format!("failed to find disk '{}' in snapshot VM XML", disk.name());
            return Err(refuse(SnapshotSort::Invalid, text));
        };
        if is_side {
            // libvirt removes what this snapshot froze, without asking who stands on it: that lost people their base
            // images (virt-manager's issue 811). Here it goes only if nobody needs it.
            plan.files.push(PathBuf::from(base));
            continue;
        }
        let Some(top) = disk.path().map(PathBuf::from) else { continue };
        let mut merge = Merge {
            target: disk.name().to_owned(),
            base: base.into(),
            base_format: own.format().to_owned(),
            base_encryption: own.encryption_tree().map(|tree| tree.to_text()),
            above: Vec::new(),
            top,
            due: true,
        };
        merge.above = above(tree, gone, &merge, definition).await;
        merge.due = is_due(entry, running, &merge)?;
        if merge.due {
            may_merge(shared, entry, tree, gone, &merge).await?;
        }
        plan.files.push(merge.top.clone());
        plan.merges.push(merge);
    }
    Ok(())
}

/// Whether the guest's disk stands on the file still; refused if it stands elsewhere.
fn is_due(entry: &Entry, running: Option<&Running>, merge: &Merge) -> Result<bool, DomainError> {
    let of = |domain: &Domain| {
        let disk = domain.devices.disks.iter().find(|disk| disk.target.dev == merge.target);
        disk.and_then(|disk| disk.path().map(PathBuf::from))
    };
    let definition = parse_inactive(entry)?.as_ref().and_then(of);
    let Some(running) = running else {
        return Ok(merge.is_due_below(definition.as_deref()).ok_or_else(stands_elsewhere)?);
    };
    block_job::refuse_busy(running, &merge.target)?;
    let at = block_job::position(running, &merge.target)?;
    let chain = paths(&layers(&running.document.devices.disks[at])?);
    let due = merge.is_due_on(&chain).ok_or_else(stands_elsewhere)?;
    // The next start would be on a file that is gone, or that others write.
    if let Some(own) = definition.filter(|own| chain.first() != Some(own) && chain.contains(own)) {
        let text = format!(
            "the running guest's disk '{}' stands on '{}', which is its definition's own: shut it down first",
            merge.target,
            own.display()
        );
        return Err(refuse(SnapshotSort::Invalid, text));
    }
    Ok(due)
}

/// The files that snapshots above put on its own: a child, or one further up where the child left the disk out; and a
/// revert to such a one. A file that is gone and that nothing names is of no revert or guest any more.
async fn above(
    tree: &SnapshotTree,
    gone: &DomainSnapshot,
    merge: &Merge,
    definition: Option<&Domain>,
) -> Vec<PathBuf> {
    let froze_top = |other: &&Arc<DomainSnapshot>| {
        let disks = other.domain.iter().flat_map(|domain| &domain.devices.disks);
        let own = disks.filter(|disk| disk.target.dev == merge.target).find_map(|disk| disk.path());
        other.name() != gone.name() && own.map(Path::new) == Some(&merge.top)
    };
    let made = tree.all().filter(froze_top).flat_map(|other| {
        let since = other.revert_disks.iter().flat_map(|disks| &disks.disks);
        let disks = other.disks().iter().chain(since);
        let own = disks.filter(|disk| disk.name() == merge.target && disk.location() == Location::External);
        own.filter_map(|disk| disk.path().map(PathBuf::from)).collect::<Vec<_>>()
    });
    let mut files: Vec<_> = made.collect();
    files.sort();
    files.dedup();
    // They may be on a server that does not answer.
    let looked = files.clone();
    let are_there = blocking(move || looked.iter().map(|path| path.exists()).collect::<Vec<_>>()).await;
    let mut are_there = are_there.into_iter();
    files.retain(|path| {
        are_there.next() == Some(true) || own_need(tree, definition.into_iter(), path).is_some()
    });
    files
}

/// The base changes and the top goes: nobody else may stand on either.
async fn may_merge(
    shared: &Arc<Shared>,
    entry: &Entry,
    tree: &SnapshotTree,
    gone: &DomainSnapshot,
    merge: &Merge,
) -> Result<(), DomainError> {
    let name = entry.name();
    let needed = |path: PathBuf, why: String| {
        let text = format!(
            "cannot delete snapshot '{}': '{}' has to stay as it is, since {why}; nothing was changed",
            gone.name(),
            path.display()
        );
        refuse(SnapshotSort::Invalid, text)
    };
    let mut going = merge.above.clone();
    going.push(merge.top.clone());
    for path in [&merge.base, &merge.top] {
        let asked = shared.ports.volumes.needed_by(entry.id, path, &going).await;
        let asked = asked.map_err(|source| DomainError::Port {
            act: "look at the disks",
            name: Arc::clone(&name),
            source,
        })?;
        if let Some(why) = asked {
            return Err(needed(path.clone(), why));
        }
    }
    let inside_top = |other: &&Arc<DomainSnapshot>| {
        let inside = |disk: &lodge_model::snapshot::SnapshotDisk| {
            disk.name() == merge.target && disk.location() == Location::Internal
        };
        other.name() != gone.name() && has(other, &merge.top) && other.disks().iter().any(inside)
    };
    if let Some(other) = tree.all().find(inside_top) {
        return Err(needed(merge.top.clone(), format!("snapshot '{}' is kept in it", other.name())));
    }
    // A snapshot beside this one that froze the same base would change with it.
    let beside = tree
        .all()
        .filter(|other| other.name() != gone.name() && !tree.is_ancestor(gone.name(), other.name()));
    for other in beside {
        let froze = other.is_external()
            && other.disks().iter().any(|disk| {
                disk.name() == merge.target
                    && disk.location() == Location::External
                    && has(other, &merge.base)
            });
        if froze {
            return Err(needed(merge.base.clone(), format!("snapshot '{}' is it", other.name())));
        }
    }
    Ok(())
}

fn has(snapshot: &DomainSnapshot, path: &Path) -> bool {
    let disks = snapshot.domain.iter().flat_map(|domain| &domain.devices.disks);
    disks.filter_map(|disk| disk.path()).any(|own| Path::new(own) == path)
}

/// What came after the merged one stands on the base now, and says so.
fn follow(tree: &mut SnapshotTree, gone: &DomainSnapshot, merges: &[Merge]) {
    let names: Vec<String> = tree.names().map(str::to_owned).collect();
    for name in names {
        let Some(snapshot) = tree.get(&name) else { continue };
        let mut changed = DomainSnapshot::clone(snapshot);
        for domain in [&mut changed.domain, &mut changed.inactive_domain].into_iter().flatten() {
            below(domain, merges);
        }
        // The parent's files since a revert to it are its own now, unless another child stands on those.
        if gone.parent() == Some(name.as_str())
            && tree.children(Some(&name)).is_empty()
            && let Some(disks) = changed.revert_disks.take()
        {
            changed.disks = Some(disks);
        }
        if changed != **snapshot {
            tree.insert(changed);
        }
    }
}

/// Puts the base in the place of each merged file.
fn below(domain: &mut Domain, merges: &[Merge]) {
    for merge in merges {
        let Some(disk) = domain.devices.disks.iter_mut().find(|disk| disk.target.dev == merge.target) else {
            continue;
        };
        if disk.path().map(Path::new) == Some(&merge.top) {
            super::super::overlay::set_file(disk, &merge.base, None);
            disk.set_encryption(merge.base_encryption.as_deref().and_then(Kept::parse).as_ref());
            disk.driver.get_or_insert_default().format = Some(merge.base_format.clone());
            // What stood below the top is what stands below the base.
            let next = disk.backing_store.take().and_then(|store| store.backing_store);
            disk.backing_store = next;
            continue;
        }
        skip(&mut disk.backing_store, &merge.top);
    }
}

/// Takes `gone` out of what a disk stands on.
fn skip(store: &mut Option<Box<BackingStore>>, gone: &Path) {
    let Some(at) = store.as_deref_mut() else { return };
    let path = at.source.as_deref().and_then(|source| source.file.as_deref()).map(Path::new);
    if path == Some(gone) {
        *store = at.backing_store.take();
    } else {
        skip(&mut at.backing_store, gone);
    }
}
