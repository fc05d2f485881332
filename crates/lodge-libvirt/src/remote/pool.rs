//! Storage pools.

pub(crate) mod fault;
pub(crate) mod list;

use lodge_engine::storage::{BuildOptions, PoolHandle, PoolView};
use lodge_model::PoolId;
use lodge_wire::Text;
use lodge_wire::remote::{
    ConnectFindStoragePoolSourcesArgs, ConnectFindStoragePoolSourcesRet,
    ConnectGetStoragePoolCapabilitiesArgs, ConnectGetStoragePoolCapabilitiesRet, StoragePool,
    StoragePoolBuildArgs, StoragePoolCreateArgs, StoragePoolCreateXmlArgs, StoragePoolCreateXmlRet,
    StoragePoolDefineXmlArgs, StoragePoolDefineXmlRet, StoragePoolDeleteArgs, StoragePoolDestroyArgs,
    StoragePoolGetAutostartArgs, StoragePoolGetAutostartRet, StoragePoolGetInfoArgs, StoragePoolGetInfoRet,
    StoragePoolGetXmlDescArgs, StoragePoolGetXmlDescRet, StoragePoolIsActiveArgs, StoragePoolIsActiveRet,
    StoragePoolIsPersistentArgs, StoragePoolIsPersistentRet, StoragePoolLookupByNameArgs,
    StoragePoolLookupByNameRet, StoragePoolLookupByTargetPathArgs, StoragePoolLookupByTargetPathRet,
    StoragePoolLookupByUuidArgs, StoragePoolLookupByUuidRet, StoragePoolLookupByVolumeArgs,
    StoragePoolLookupByVolumeRet, StoragePoolRefreshArgs, StoragePoolSetAutostartArgs,
    StoragePoolUndefineArgs,
};
use uuid::Uuid;

use self::fault::of;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// A pool's handle on the wire.
pub(crate) fn wire(pool: &PoolView) -> StoragePool {
    StoragePool { name: pool.name.as_str().into(), uuid: *pool.id.0.as_bytes() }
}

/// The pool that a handle means: by its UUID; the name is for the error's text.
pub(crate) fn find(call: &Call, pool: &StoragePool) -> Result<PoolView, Fault> {
    let id = PoolId(Uuid::from_bytes(pool.uuid));
    call.engine().pool_by_uuid(&call.caller(), id, Some(&pool.name.to_string_lossy())).map_err(of)
}

fn handle(call: &Call, pool: &StoragePool) -> Result<PoolHandle, Fault> {
    find(call, pool).map(|pool| pool.handle())
}

/// A text that must be UTF-8 to mean anything here.
pub(crate) fn text<'a>(text: &'a Text, what: &str) -> Result<&'a str, Fault> {
    text.to_str().map_err(|_| Fault::new(Code::XmlError, Origin::Storage, format!("the {what} is not UTF-8")))
}

/// libvirt's refusal of flags by one of its backends.
pub(crate) fn flags_fault(flags: u32, function: &str) -> Fault {
    let text = format!("unsupported flags (0x{flags:x}) in function {function}");
    Fault::bare(Code::InvalidArg, Origin::Storage, text).with_strings(function, "flags")
}

pub(crate) async fn lookup_by_name(
    call: &Call,
    args: StoragePoolLookupByNameArgs,
) -> Result<StoragePoolLookupByNameRet, Fault> {
    let pool = call.engine().pool_by_name(&call.caller(), &args.name.to_string_lossy()).map_err(of)?;
    Ok(StoragePoolLookupByNameRet { pool: wire(&pool) })
}

pub(crate) async fn lookup_by_uuid(
    call: &Call,
    args: StoragePoolLookupByUuidArgs,
) -> Result<StoragePoolLookupByUuidRet, Fault> {
    let id = PoolId(Uuid::from_bytes(args.uuid));
    let pool = call.engine().pool_by_uuid(&call.caller(), id, None).map_err(of)?;
    Ok(StoragePoolLookupByUuidRet { pool: wire(&pool) })
}

pub(crate) async fn lookup_by_volume(
    call: &Call,
    args: StoragePoolLookupByVolumeArgs,
) -> Result<StoragePoolLookupByVolumeRet, Fault> {
    let pool = call.engine().pool_by_name(&call.caller(), &args.vol.pool.to_string_lossy()).map_err(of)?;
    Ok(StoragePoolLookupByVolumeRet { pool: wire(&pool) })
}

pub(crate) async fn lookup_by_target_path(
    call: &Call,
    args: StoragePoolLookupByTargetPathArgs,
) -> Result<StoragePoolLookupByTargetPathRet, Fault> {
    let pool = call.engine().pool_by_target(&call.caller(), &args.path.to_string_lossy()).map_err(of)?;
    Ok(StoragePoolLookupByTargetPathRet { pool: wire(&pool) })
}

pub(crate) async fn define_xml(
    call: &Call,
    args: StoragePoolDefineXmlArgs,
) -> Result<StoragePoolDefineXmlRet, Fault> {
    call.only_flags(args.flags, 1)?;
    let xml = text(&args.xml, "document")?;
    let pool = call.engine().define_pool(&call.caller(), xml, args.flags & 1 != 0).await.map_err(of)?;
    Ok(StoragePoolDefineXmlRet { pool: wire(&pool) })
}

/// `VIR_STORAGE_POOL_CREATE_*`
fn build_of(flags: u32) -> Option<BuildOptions> {
    let options = BuildOptions { overwrite: flags & 2 != 0, no_overwrite: flags & 4 != 0 };
    (flags & 7 != 0).then_some(options)
}

pub(crate) async fn create_xml(
    call: &Call,
    args: StoragePoolCreateXmlArgs,
) -> Result<StoragePoolCreateXmlRet, Fault> {
    call.only_flags(args.flags, 7)?;
    let xml = text(&args.xml, "document")?;
    let made = call.engine().create_pool(&call.caller(), xml, build_of(args.flags), false).await;
    Ok(StoragePoolCreateXmlRet { pool: wire(&made.map_err(of)?) })
}

pub(crate) async fn create(call: &Call, args: StoragePoolCreateArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 7)?;
    let pool = handle(call, &args.pool)?;
    call.engine().start_pool(&call.caller(), &pool, build_of(args.flags)).await.map_err(of)
}

pub(crate) async fn build(call: &Call, args: StoragePoolBuildArgs) -> Result<(), Fault> {
    const NO_OVERWRITE: u32 = 4;
    const OVERWRITE: u32 = 8;
    const FUNCTION: &str = "virStorageBackendFileSystemBuild";
    let pool = find(call, &args.pool)?;
    // libvirt's driver looks at the pool before its backend looks at the flags.
    if !pool.is_active {
        let unknown = args.flags & !(NO_OVERWRITE | OVERWRITE);
        if unknown != 0 {
            return Err(flags_fault(unknown, FUNCTION));
        }
        if args.flags == NO_OVERWRITE | OVERWRITE {
            let text = "Flags 'VIR_STORAGE_POOL_BUILD_OVERWRITE' and 'VIR_STORAGE_POOL_BUILD_NO_OVERWRITE' are \
                        mutually exclusive";
            return Err(Fault::bare(Code::InvalidArg, Origin::Storage, text).with_strings(FUNCTION, "ctl"));
        }
    }
    let options =
        BuildOptions { overwrite: args.flags & OVERWRITE != 0, no_overwrite: args.flags & NO_OVERWRITE != 0 };
    call.engine().build_pool(&call.caller(), &pool.handle(), options).await.map_err(of)
}

pub(crate) async fn destroy(call: &Call, args: StoragePoolDestroyArgs) -> Result<(), Fault> {
    let pool = handle(call, &args.pool)?;
    call.engine().destroy_pool(&call.caller(), &pool).await.map_err(of)
}

pub(crate) async fn delete(call: &Call, args: StoragePoolDeleteArgs) -> Result<(), Fault> {
    let pool = find(call, &args.pool)?;
    if !pool.is_active && args.flags != 0 {
        return Err(flags_fault(args.flags, "virStorageBackendDeleteLocal"));
    }
    call.engine().delete_pool(&call.caller(), &pool.handle()).await.map_err(of)
}

pub(crate) async fn undefine(call: &Call, args: StoragePoolUndefineArgs) -> Result<(), Fault> {
    let pool = handle(call, &args.pool)?;
    call.engine().undefine_pool(&call.caller(), &pool).await.map_err(of)
}

pub(crate) async fn refresh(call: &Call, args: StoragePoolRefreshArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let pool = handle(call, &args.pool)?;
    call.engine().refresh_pool(&call.caller(), &pool).await.map_err(of)
}

pub(crate) async fn get_info(
    call: &Call,
    args: StoragePoolGetInfoArgs,
) -> Result<StoragePoolGetInfoRet, Fault> {
    // virStoragePoolState
    const INACTIVE: u8 = 0;
    const RUNNING: u8 = 2;
    let pool = find(call, &args.pool)?;
    Ok(StoragePoolGetInfoRet {
        state: if pool.is_active { RUNNING } else { INACTIVE },
        capacity: pool.capacity,
        allocation: pool.allocation,
        available: pool.available,
    })
}

pub(crate) async fn get_xml_desc(
    call: &Call,
    args: StoragePoolGetXmlDescArgs,
) -> Result<StoragePoolGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 1)?;
    let pool = handle(call, &args.pool)?;
    let xml = call.engine().pool_xml(&call.caller(), &pool, args.flags & 1 != 0).map_err(of)?;
    Ok(StoragePoolGetXmlDescRet { xml: xml.into() })
}

pub(crate) async fn get_autostart(
    call: &Call,
    args: StoragePoolGetAutostartArgs,
) -> Result<StoragePoolGetAutostartRet, Fault> {
    Ok(StoragePoolGetAutostartRet { autostart: find(call, &args.pool)?.autostart.into() })
}

pub(crate) async fn set_autostart(call: &Call, args: StoragePoolSetAutostartArgs) -> Result<(), Fault> {
    let pool = handle(call, &args.pool)?;
    call.engine().set_pool_autostart(&call.caller(), &pool, args.autostart != 0).await.map_err(of)
}

pub(crate) async fn is_active(
    call: &Call,
    args: StoragePoolIsActiveArgs,
) -> Result<StoragePoolIsActiveRet, Fault> {
    Ok(StoragePoolIsActiveRet { active: find(call, &args.pool)?.is_active.into() })
}

pub(crate) async fn is_persistent(
    call: &Call,
    args: StoragePoolIsPersistentArgs,
) -> Result<StoragePoolIsPersistentRet, Fault> {
    Ok(StoragePoolIsPersistentRet { persistent: find(call, &args.pool)?.is_persistent.into() })
}

pub(crate) async fn get_capabilities(
    call: &Call,
    args: ConnectGetStoragePoolCapabilitiesArgs,
) -> Result<ConnectGetStoragePoolCapabilitiesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(ConnectGetStoragePoolCapabilitiesRet {
        capabilities: call.engine().pool_capabilities(&call.caller()).into(),
    })
}

/// What pools could be made of.
pub(crate) async fn find_sources(
    call: &Call,
    args: ConnectFindStoragePoolSourcesArgs,
) -> Result<ConnectFindStoragePoolSourcesRet, Fault> {
    use lodge_model::storage::PoolKind;
    let kind = args.r#type.to_string_lossy();
    let unknown = || Fault::internal(Origin::Storage, format!("unknown storage pool type {kind}"));
    let kind = kind.parse::<PoolKind>().map_err(|_| unknown())?;
    let spec = args.src_spec.as_ref().map(|spec| text(spec, "source")).transpose()?;
    let xml = call.engine().find_pool_sources(&call.caller(), kind, spec).await.map_err(of)?;
    Ok(ConnectFindStoragePoolSourcesRet { xml: xml.into() })
}
