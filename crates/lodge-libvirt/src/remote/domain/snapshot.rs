//! Snapshots of domains: finding and listing them asks no owner; the rest is the owner's.

use std::sync::Arc;

use lodge_engine::Handle;
use lodge_engine::verb::{SnapshotCreateOptions, SnapshotDeleteOptions, SnapshotRevertOptions, Ticket};
use lodge_model::snapshot::DomainSnapshot;
use lodge_model::snapshot::tree::SnapshotFilter;
use lodge_wire::Text;
use lodge_wire::remote as wire;

use super::define::{exclusive, text};
use super::lookup::{self, find, find_to_change};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_SNAPSHOT_CREATE_*`
mod making {
    pub const REDEFINE: u32 = 1 << 0;
    pub const CURRENT: u32 = 1 << 1;
    pub const NO_METADATA: u32 = 1 << 2;
    pub const HALT: u32 = 1 << 3;
    pub const DISK_ONLY: u32 = 1 << 4;
    pub const REUSE_EXT: u32 = 1 << 5;
    pub const QUIESCE: u32 = 1 << 6;
    /// It always is.
    pub const ATOMIC: u32 = 1 << 7;
    pub const LIVE: u32 = 1 << 8;
    pub const VALIDATE: u32 = 1 << 9;
    pub const ALL: u32 =
        REDEFINE | CURRENT | NO_METADATA | HALT | DISK_ONLY | REUSE_EXT | QUIESCE | ATOMIC | LIVE | VALIDATE;
}

/// `VIR_DOMAIN_SNAPSHOT_REVERT_*`
mod reverting {
    pub const RUNNING: u32 = 1 << 0;
    pub const PAUSED: u32 = 1 << 1;
    pub const FORCE: u32 = 1 << 2;
    pub const RESET_NVRAM: u32 = 1 << 3;
    pub const ALL: u32 = RUNNING | PAUSED | FORCE | RESET_NVRAM;
}

/// `VIR_DOMAIN_SNAPSHOT_DELETE_*`
mod deleting {
    pub const CHILDREN: u32 = 1 << 0;
    pub const METADATA_ONLY: u32 = 1 << 1;
    pub const CHILDREN_ONLY: u32 = 1 << 2;
    pub const ALL: u32 = CHILDREN | METADATA_ONLY | CHILDREN_ONLY;
}

/// `VIR_DOMAIN_SNAPSHOT_LIST_*`. The first bit means roots from a domain, and all below from a snapshot.
mod listing {
    pub const ROOTS: u32 = 1 << 0;
    pub const METADATA: u32 = 1 << 1;
    pub const LEAVES: u32 = 1 << 2;
    pub const NO_LEAVES: u32 = 1 << 3;
    pub const NO_METADATA: u32 = 1 << 4;
    pub const INACTIVE: u32 = 1 << 5;
    pub const ACTIVE: u32 = 1 << 6;
    pub const DISK_ONLY: u32 = 1 << 7;
    pub const INTERNAL: u32 = 1 << 8;
    pub const EXTERNAL: u32 = 1 << 9;
    pub const TOPOLOGICAL: u32 = 1 << 10;
    pub const ALL: u32 = (1 << 11) - 1;
}

/// `VIR_DOMAIN_SNAPSHOT_XML_SECURE`
const XML_SECURE: u32 = 1 << 0;

pub(crate) async fn create_xml(
    call: &Call,
    args: wire::DomainSnapshotCreateXmlArgs,
) -> Result<wire::DomainSnapshotCreateXmlRet, Fault> {
    use making::{ALL, CURRENT, DISK_ONLY, HALT, LIVE, NO_METADATA, QUIESCE, REDEFINE, REUSE_EXT, VALIDATE};
    let flags = args.flags;
    let has = |flag: u32| flags & flag != 0;
    call.only_flags(flags, ALL)?;
    requires(flags, (QUIESCE, "QUIESCE"), (DISK_ONLY, "DISK_ONLY"), Origin::Qemu)?;
    excludes(flags, (LIVE, "LIVE"), (REDEFINE, "REDEFINE"))?;
    requires(flags, (CURRENT, "CURRENT"), (REDEFINE, "REDEFINE"), Origin::Domain)?;
    excludes(flags, (REDEFINE, "REDEFINE"), (NO_METADATA, "NO_METADATA"))?;
    excludes(flags, (REDEFINE, "REDEFINE"), (HALT, "HALT"))?;
    let handle = find_to_change(call, &args.dom)?;
    let xml = text(&args.xml_desc)?.to_owned();
    let options = SnapshotCreateOptions {
        redefine: has(REDEFINE),
        current: has(CURRENT),
        no_metadata: has(NO_METADATA),
        halt: has(HALT),
        disk_only: has(DISK_ONLY),
        reuse_external: has(REUSE_EXT),
        quiesce: has(QUIESCE),
        live: has(LIVE),
        validate: has(VALIDATE),
    };
    let name = handle.create_snapshot(xml, options, Ticket::default()).await?;
    Ok(wire::DomainSnapshotCreateXmlRet { snap: told(&handle, &name) })
}

/// `VIR_REQUIRE_FLAG_RET`
fn requires(flags: u32, one: (u32, &str), other: (u32, &str), origin: Origin) -> Result<(), Fault> {
    if flags & one.0 == 0 || flags & other.0 != 0 {
        return Ok(());
    }
    let name = |flag: &str| format!("VIR_DOMAIN_SNAPSHOT_CREATE_{flag}");
    let words = format!("Flag '{}' is required by flag '{}'", name(other.1), name(one.1));
    Err(Fault::bare(Code::InvalidArg, origin, words))
}

fn excludes(flags: u32, one: (u32, &str), other: (u32, &str)) -> Result<(), Fault> {
    let name = |flag: &str| format!("VIR_DOMAIN_SNAPSHOT_CREATE_{flag}");
    exclusive(flags, (one.0, &name(one.1)), (other.0, &name(other.1)))
}

/// A snapshot's handle on the wire.
fn told(handle: &Handle, name: &str) -> wire::DomainSnapshot {
    wire::DomainSnapshot { name: name.into(), dom: lookup::wire(&handle.snapshot()) }
}

/// The snapshot that a handle means.
fn found(call: &Call, snap: &wire::DomainSnapshot) -> Result<(Handle, Arc<DomainSnapshot>), Fault> {
    let handle = find(call, &snap.dom)?;
    let snapshot = handle.find_snapshot(&name_of(&snap.name))?;
    Ok((handle, snapshot))
}

/// A name that is no text is nobody's name here.
fn name_of(name: &Text) -> String {
    name.to_string()
}

pub(crate) async fn xml_desc(
    call: &Call,
    args: wire::DomainSnapshotGetXmlDescArgs,
) -> Result<wire::DomainSnapshotGetXmlDescRet, Fault> {
    call.only_flags(args.flags, XML_SECURE)?;
    let (_, snapshot) = found(call, &args.snap)?;
    Ok(wire::DomainSnapshotGetXmlDescRet { xml: snapshot.to_xml(args.flags & XML_SECURE != 0).into() })
}

/// The names that `flags` ask for, from the domain's root or from a snapshot.
fn names(call: &Call, handle: &Handle, from: Option<&str>, flags: u32) -> Result<Vec<String>, Fault> {
    use listing::{
        ACTIVE, ALL, DISK_ONLY, EXTERNAL, INACTIVE, INTERNAL, LEAVES, METADATA, NO_LEAVES, NO_METADATA,
        ROOTS, TOPOLOGICAL,
    };
    call.only_flags(flags, ALL)?;
    // All that is known has metadata: it is what is known.
    if flags & (METADATA | NO_METADATA) == NO_METADATA {
        return Ok(Vec::new());
    }
    let has = |flag: u32| flags & flag != 0;
    let filter = SnapshotFilter {
        roots: has(ROOTS),
        leaves: has(LEAVES),
        no_leaves: has(NO_LEAVES),
        inactive: has(INACTIVE),
        active: has(ACTIVE),
        disk_only: has(DISK_ONLY),
        internal: has(INTERNAL),
        external: has(EXTERNAL),
        topological: has(TOPOLOGICAL),
    };
    Ok(handle.snapshots().select(from, filter))
}

fn count(names: &[String]) -> i32 {
    i32::try_from(names.len()).unwrap_or(i32::MAX)
}

fn some(names: Vec<String>, most: i32) -> Vec<Text> {
    names.into_iter().take(usize::try_from(most).unwrap_or(0)).map(Into::into).collect()
}

fn all(handle: &Handle, names: &[String], wanted: i32) -> Vec<wire::DomainSnapshot> {
    if wanted == 0 { Vec::new() } else { names.iter().map(|name| told(handle, name)).collect() }
}

pub(crate) async fn num(
    call: &Call,
    args: wire::DomainSnapshotNumArgs,
) -> Result<wire::DomainSnapshotNumRet, Fault> {
    let names = names(call, &find(call, &args.dom)?, None, args.flags)?;
    Ok(wire::DomainSnapshotNumRet { num: count(&names) })
}

pub(crate) async fn list_names(
    call: &Call,
    args: wire::DomainSnapshotListNamesArgs,
) -> Result<wire::DomainSnapshotListNamesRet, Fault> {
    let names = names(call, &find(call, &args.dom)?, None, args.flags)?;
    Ok(wire::DomainSnapshotListNamesRet { names: some(names, args.maxnames) })
}

pub(crate) async fn list_all(
    call: &Call,
    args: wire::DomainListAllSnapshotsArgs,
) -> Result<wire::DomainListAllSnapshotsRet, Fault> {
    let handle = find(call, &args.dom)?;
    let names = names(call, &handle, None, args.flags)?;
    let snapshots = all(&handle, &names, args.need_results);
    Ok(wire::DomainListAllSnapshotsRet { snapshots, ret: count(&names) })
}

pub(crate) async fn num_children(
    call: &Call,
    args: wire::DomainSnapshotNumChildrenArgs,
) -> Result<wire::DomainSnapshotNumChildrenRet, Fault> {
    let (handle, snapshot) = found(call, &args.snap)?;
    let names = names(call, &handle, Some(snapshot.name()), args.flags)?;
    Ok(wire::DomainSnapshotNumChildrenRet { num: count(&names) })
}

pub(crate) async fn list_children_names(
    call: &Call,
    args: wire::DomainSnapshotListChildrenNamesArgs,
) -> Result<wire::DomainSnapshotListChildrenNamesRet, Fault> {
    let (handle, snapshot) = found(call, &args.snap)?;
    let names = names(call, &handle, Some(snapshot.name()), args.flags)?;
    Ok(wire::DomainSnapshotListChildrenNamesRet { names: some(names, args.maxnames) })
}

pub(crate) async fn list_all_children(
    call: &Call,
    args: wire::DomainSnapshotListAllChildrenArgs,
) -> Result<wire::DomainSnapshotListAllChildrenRet, Fault> {
    let (handle, snapshot) = found(call, &args.snapshot)?;
    let names = names(call, &handle, Some(snapshot.name()), args.flags)?;
    let snapshots = all(&handle, &names, args.need_results);
    Ok(wire::DomainSnapshotListAllChildrenRet { snapshots, ret: count(&names) })
}

pub(crate) async fn lookup_by_name(
    call: &Call,
    args: wire::DomainSnapshotLookupByNameArgs,
) -> Result<wire::DomainSnapshotLookupByNameRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let handle = find(call, &args.dom)?;
    let snapshot = handle.find_snapshot(&name_of(&args.name))?;
    Ok(wire::DomainSnapshotLookupByNameRet { snap: told(&handle, snapshot.name()) })
}

pub(crate) async fn has_current(
    call: &Call,
    args: wire::DomainHasCurrentSnapshotArgs,
) -> Result<wire::DomainHasCurrentSnapshotRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let has = find(call, &args.dom)?.snapshots().current().is_some();
    Ok(wire::DomainHasCurrentSnapshotRet { result: has.into() })
}

/// `VIR_ERR_NO_DOMAIN_SNAPSHOT`, from the QEMU driver.
fn none(text: String) -> Fault {
    Fault::new(Code::NoDomainSnapshot, Origin::Qemu, text)
}

pub(crate) async fn get_parent(
    call: &Call,
    args: wire::DomainSnapshotGetParentArgs,
) -> Result<wire::DomainSnapshotGetParentRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let (handle, snapshot) = found(call, &args.snap)?;
    let tree = handle.snapshots();
    let parent = tree.parent(snapshot.name());
    let parent =
        parent.ok_or_else(|| none(format!("snapshot '{}' does not have a parent", snapshot.name())))?;
    Ok(wire::DomainSnapshotGetParentRet { snap: told(&handle, parent.name()) })
}

pub(crate) async fn current(
    call: &Call,
    args: wire::DomainSnapshotCurrentArgs,
) -> Result<wire::DomainSnapshotCurrentRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let handle = find(call, &args.dom)?;
    let tree = handle.snapshots();
    let missing = || none("the domain does not have a current snapshot".to_owned());
    let current = tree.current().ok_or_else(missing)?;
    Ok(wire::DomainSnapshotCurrentRet { snap: told(&handle, current.name()) })
}

pub(crate) async fn is_current(
    call: &Call,
    args: wire::DomainSnapshotIsCurrentArgs,
) -> Result<wire::DomainSnapshotIsCurrentRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let (handle, snapshot) = found(call, &args.snap)?;
    let current = handle.snapshots().is_current(snapshot.name());
    Ok(wire::DomainSnapshotIsCurrentRet { current: current.into() })
}

pub(crate) async fn has_metadata(
    call: &Call,
    args: wire::DomainSnapshotHasMetadataArgs,
) -> Result<wire::DomainSnapshotHasMetadataRet, Fault> {
    call.only_flags(args.flags, 0)?;
    found(call, &args.snap)?;
    Ok(wire::DomainSnapshotHasMetadataRet { metadata: 1 })
}

pub(crate) async fn revert(call: &Call, args: wire::DomainRevertToSnapshotArgs) -> Result<(), Fault> {
    use reverting::{ALL, FORCE, PAUSED, RESET_NVRAM, RUNNING};
    let flags = args.flags;
    call.only_flags(flags, ALL)?;
    exclusive(
        flags,
        (RUNNING, "VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING"),
        (PAUSED, "VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED"),
    )?;
    let options = SnapshotRevertOptions {
        running: flags & RUNNING != 0,
        paused: flags & PAUSED != 0,
        force: flags & FORCE != 0,
        reset_nvram: flags & RESET_NVRAM != 0,
    };
    let handle = find_to_change(call, &args.snap.dom)?;
    handle.revert_to_snapshot(name_of(&args.snap.name), options, Ticket::default()).await?;
    Ok(())
}

pub(crate) async fn delete(call: &Call, args: wire::DomainSnapshotDeleteArgs) -> Result<(), Fault> {
    use deleting::{ALL, CHILDREN, CHILDREN_ONLY, METADATA_ONLY};
    let flags = args.flags;
    call.only_flags(flags, ALL)?;
    exclusive(
        flags,
        (CHILDREN, "VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN"),
        (CHILDREN_ONLY, "VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY"),
    )?;
    let options = SnapshotDeleteOptions {
        children: flags & CHILDREN != 0,
        children_only: flags & CHILDREN_ONLY != 0,
        metadata: flags & METADATA_ONLY != 0,
    };
    find_to_change(call, &args.snap.dom)?.delete_snapshot(name_of(&args.snap.name), options).await?;
    Ok(())
}
