//! Finding domains: by name, UUID, number, and all of them.

use std::sync::Arc;

use lodge_engine::Snapshot;
use lodge_model::DomainId;
use lodge_wire::remote::{
    ConnectListAllDomainsArgs, ConnectListAllDomainsRet, ConnectListDefinedDomainsArgs,
    ConnectListDefinedDomainsRet, ConnectListDomainsArgs, ConnectListDomainsRet,
    ConnectNumOfDefinedDomainsRet, ConnectNumOfDomainsRet, Domain, DomainBackupGetXmlDescArgs,
    DomainBackupGetXmlDescRet, DomainCheckpointLookupByNameArgs, DomainCheckpointLookupByNameRet,
    DomainGetMaxMemoryArgs, DomainGetMaxMemoryRet, DomainGetOsTypeArgs, DomainGetOsTypeRet,
    DomainGetStateArgs, DomainGetStateRet, DomainIsActiveArgs, DomainIsActiveRet, DomainIsPersistentArgs,
    DomainIsPersistentRet, DomainIsUpdatedArgs, DomainIsUpdatedRet, DomainListAllCheckpointsArgs,
    DomainListAllCheckpointsRet, DomainLookupByIdArgs, DomainLookupByIdRet, DomainLookupByNameArgs,
    DomainLookupByNameRet, DomainLookupByUuidArgs, DomainLookupByUuidRet,
};
use uuid::Uuid;

use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// A domain's handle on the wire.
pub(crate) fn wire(snapshot: &Snapshot) -> Domain {
    Domain {
        name: (&*snapshot.name).into(),
        uuid: *snapshot.id.0.as_bytes(),
        id: snapshot.domid().and_then(|id| i32::try_from(id).ok()).unwrap_or(-1),
    }
}

/// The domain that a handle means: by its UUID; the name is for the error's text.
pub(crate) fn find(call: &Call, dom: &Domain) -> Result<lodge_engine::Handle, Fault> {
    let id = DomainId(Uuid::from_bytes(dom.uuid));
    let found = call.engine().domain_by_uuid(&call.caller(), id);
    found.map_err(|_| no_domain(format!("no domain with matching uuid '{id}' ({})", dom.name)))
}

/// The same for one who is about to change it.
pub(crate) fn find_to_change(call: &Call, dom: &Domain) -> Result<lodge_engine::Handle, Fault> {
    call.engine().domains_for(&call.caller())?;
    find(call, dom)
}

/// `VIR_ERR_NO_DOMAIN`, from the QEMU driver.
pub(crate) fn no_domain(text: String) -> Fault {
    Fault::new(Code::NoDomain, Origin::Qemu, text)
}

pub(crate) async fn by_name(
    call: &Call,
    args: DomainLookupByNameArgs,
) -> Result<DomainLookupByNameRet, Fault> {
    let missing = || no_domain(format!("no domain with matching name '{}'", args.name));
    // A name that is no text is nobody's name here.
    let name = args.name.to_str().map_err(|_| missing())?;
    let found = call.engine().domain_by_name(&call.caller(), name).map_err(|_| missing())?;
    Ok(DomainLookupByNameRet { dom: wire(&found.snapshot()) })
}

pub(crate) async fn by_uuid(
    call: &Call,
    args: DomainLookupByUuidArgs,
) -> Result<DomainLookupByUuidRet, Fault> {
    let id = DomainId(Uuid::from_bytes(args.uuid));
    let found = call.engine().domain_by_uuid(&call.caller(), id);
    let found = found.map_err(|_| no_domain(format!("no domain with matching uuid '{id}'")))?;
    Ok(DomainLookupByUuidRet { dom: wire(&found.snapshot()) })
}

pub(crate) async fn by_id(call: &Call, args: DomainLookupByIdArgs) -> Result<DomainLookupByIdRet, Fault> {
    let found = u32::try_from(args.id).ok().and_then(|id| call.engine().domain_by_number(&call.caller(), id));
    let found = found.ok_or_else(|| no_domain(format!("no domain with matching id {}", args.id)))?;
    Ok(DomainLookupByIdRet { dom: wire(&found) })
}

/// `VIR_CONNECT_LIST_DOMAINS_*`, in pairs and groups: none of a group given means all of it.
mod filter {
    pub const ACTIVE: u32 = 1 << 0;
    pub const INACTIVE: u32 = 1 << 1;
    pub const PERSISTENT: u32 = 1 << 2;
    pub const TRANSIENT: u32 = 1 << 3;
    pub const RUNNING: u32 = 1 << 4;
    pub const PAUSED: u32 = 1 << 5;
    pub const SHUTOFF: u32 = 1 << 6;
    pub const OTHER: u32 = 1 << 7;
    pub const MANAGED_SAVE: u32 = 1 << 8;
    pub const NO_MANAGED_SAVE: u32 = 1 << 9;
    pub const AUTOSTART: u32 = 1 << 10;
    pub const NO_AUTOSTART: u32 = 1 << 11;
    pub const HAS_SNAPSHOT: u32 = 1 << 12;
    pub const NO_SNAPSHOT: u32 = 1 << 13;
    pub const HAS_CHECKPOINT: u32 = 1 << 14;
    pub const NO_CHECKPOINT: u32 = 1 << 15;
    pub const ALL: u32 = (1 << 16) - 1;
}

pub(crate) async fn list_all(
    call: &Call,
    args: ConnectListAllDomainsArgs,
) -> Result<ConnectListAllDomainsRet, Fault> {
    call.only_flags(args.flags, filter::ALL)?;
    let all = call.engine().domain_snapshots(&call.caller());
    let wanted = all.iter().filter(|snapshot| passes(snapshot, args.flags));
    let (domains, count) = if args.need_results == 0 {
        (Vec::new(), wanted.count())
    } else {
        let domains: Vec<_> = wanted.map(|snapshot: &Arc<Snapshot>| wire(snapshot)).collect();
        let count = domains.len();
        (domains, count)
    };
    Ok(ConnectListAllDomainsRet { domains, ret: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// Whether a domain is among those that `flags` ask for.
pub(crate) fn passes(snapshot: &Snapshot, flags: u32) -> bool {
    use filter::{
        ACTIVE, AUTOSTART, HAS_CHECKPOINT, HAS_SNAPSHOT, INACTIVE, MANAGED_SAVE, NO_AUTOSTART, NO_CHECKPOINT,
        NO_MANAGED_SAVE, NO_SNAPSHOT, OTHER, PAUSED, PERSISTENT, RUNNING, SHUTOFF, TRANSIENT,
    };
    use lodge_model::domain::lifecycle::VirtState;
    let either =
        |yes: u32, no: u32, is: bool| flags & (yes | no) == 0 || flags & (if is { yes } else { no }) != 0;
    let state = match snapshot.state.virt().0 {
        VirtState::Running => RUNNING,
        VirtState::Paused => PAUSED,
        VirtState::Shutoff => SHUTOFF,
        _ => OTHER,
    };
    let states = RUNNING | PAUSED | SHUTOFF | OTHER;
    either(ACTIVE, INACTIVE, snapshot.is_active())
        && either(PERSISTENT, TRANSIENT, snapshot.persistent)
        && (flags & states == 0 || flags & state != 0)
        && either(MANAGED_SAVE, NO_MANAGED_SAVE, snapshot.managed_save)
        && either(AUTOSTART, NO_AUTOSTART, snapshot.autostart)
        && either(HAS_SNAPSHOT, NO_SNAPSHOT, snapshot.snapshots > 0)
        && either(HAS_CHECKPOINT, NO_CHECKPOINT, false)
}

pub(crate) async fn get_state(call: &Call, args: DomainGetStateArgs) -> Result<DomainGetStateRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let (state, reason) = find(call, &args.dom)?.snapshot().state.virt();
    Ok(DomainGetStateRet { state: state.number().cast_signed(), reason: reason.cast_signed() })
}

fn count(call: &Call, wanted: impl Fn(&Snapshot) -> bool) -> i32 {
    let all = call.engine().domain_snapshots(&call.caller());
    i32::try_from(all.iter().filter(|snapshot| wanted(snapshot)).count()).unwrap_or(i32::MAX)
}

pub(crate) async fn num_of(call: &Call, (): ()) -> Result<ConnectNumOfDomainsRet, Fault> {
    Ok(ConnectNumOfDomainsRet { num: count(call, Snapshot::is_active) })
}

pub(crate) async fn num_of_defined(call: &Call, (): ()) -> Result<ConnectNumOfDefinedDomainsRet, Fault> {
    Ok(ConnectNumOfDefinedDomainsRet { num: count(call, |snapshot| !snapshot.is_active()) })
}

/// How many of a list the client has room for.
fn room(max: i32) -> usize {
    usize::try_from(max).unwrap_or(0)
}

pub(crate) async fn list_ids(
    call: &Call,
    args: ConnectListDomainsArgs,
) -> Result<ConnectListDomainsRet, Fault> {
    let all = call.engine().domain_snapshots(&call.caller());
    let numbers = all.iter().filter_map(|snapshot| i32::try_from(snapshot.domid()?).ok());
    Ok(ConnectListDomainsRet { ids: numbers.take(room(args.maxids)).collect() })
}

pub(crate) async fn list_defined(
    call: &Call,
    args: ConnectListDefinedDomainsArgs,
) -> Result<ConnectListDefinedDomainsRet, Fault> {
    let all = call.engine().domain_snapshots(&call.caller());
    let names = all.iter().filter(|snapshot| !snapshot.is_active()).map(|snapshot| (&*snapshot.name).into());
    Ok(ConnectListDefinedDomainsRet { names: names.take(room(args.maxnames)).collect() })
}

pub(crate) async fn is_active(call: &Call, args: DomainIsActiveArgs) -> Result<DomainIsActiveRet, Fault> {
    Ok(DomainIsActiveRet { active: find(call, &args.dom)?.snapshot().is_active().into() })
}

pub(crate) async fn is_persistent(
    call: &Call,
    args: DomainIsPersistentArgs,
) -> Result<DomainIsPersistentRet, Fault> {
    Ok(DomainIsPersistentRet { persistent: find(call, &args.dom)?.snapshot().persistent.into() })
}

/// Whether the definition was changed since the daemon's start: libvirt's QEMU driver never says so either.
pub(crate) async fn is_updated(call: &Call, args: DomainIsUpdatedArgs) -> Result<DomainIsUpdatedRet, Fault> {
    find(call, &args.dom)?;
    Ok(DomainIsUpdatedRet { updated: 0 })
}

pub(crate) async fn get_os_type(call: &Call, args: DomainGetOsTypeArgs) -> Result<DomainGetOsTypeRet, Fault> {
    let os_type = &*find(call, &args.dom)?.snapshot().summary.os_type.clone();
    Ok(DomainGetOsTypeRet { r#type: os_type.into() })
}

pub(crate) async fn get_max_memory(
    call: &Call,
    args: DomainGetMaxMemoryArgs,
) -> Result<DomainGetMaxMemoryRet, Fault> {
    let memory = find(call, &args.dom)?.snapshot().summary.memory_max.0 / 1024;
    Ok(DomainGetMaxMemoryRet { memory })
}

/// `VIR_DOMAIN_CHECKPOINT_LIST_*`: all there are.
const CHECKPOINT_FILTERS: u32 = (1 << 4) - 1;

/// There are no checkpoints, of no domain.
pub(crate) async fn list_all_checkpoints(
    call: &Call,
    args: DomainListAllCheckpointsArgs,
) -> Result<DomainListAllCheckpointsRet, Fault> {
    call.only_flags(args.flags, CHECKPOINT_FILTERS)?;
    find(call, &args.dom)?;
    Ok(DomainListAllCheckpointsRet { checkpoints: Vec::new(), ret: 0 })
}

/// So none is found: none can be made yet, and `CHECKPOINT_CREATE_XML` answers no.
pub(crate) async fn checkpoint_lookup_by_name(
    call: &Call,
    args: DomainCheckpointLookupByNameArgs,
) -> Result<DomainCheckpointLookupByNameRet, Fault> {
    call.only_flags(args.flags, 0)?;
    find(call, &args.dom)?;
    let text = format!("no domain checkpoint with matching name '{}'", args.name.to_string_lossy());
    Err(Fault::new(Code::NoDomainCheckpoint, Origin::Qemu, text))
}

/// Nor is there a backup under way: `BACKUP_BEGIN` answers no.
pub(crate) async fn backup_get_xml_desc(
    call: &Call,
    args: DomainBackupGetXmlDescArgs,
) -> Result<DomainBackupGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    find(call, &args.dom)?;
    Err(Fault::new(Code::NoDomainBackup, Origin::Qemu, "no domain backup job present"))
}
