//! Volumes of pools.

mod stream;

use std::sync::Arc;

use lodge_engine::storage::{MakeOptions, PoolHandle, PoolVolume, ResizeOptions, VolumeKind, WipeAlgorithm};
use lodge_model::Bytes;
use lodge_wire::remote::{
    StoragePoolListAllVolumesArgs, StoragePoolListAllVolumesRet, StoragePoolListVolumesArgs,
    StoragePoolListVolumesRet, StoragePoolNumOfVolumesArgs, StoragePoolNumOfVolumesRet, StorageVol,
    StorageVolCreateXmlArgs, StorageVolCreateXmlFromArgs, StorageVolCreateXmlFromRet, StorageVolCreateXmlRet,
    StorageVolDeleteArgs, StorageVolGetInfoArgs, StorageVolGetInfoFlagsArgs, StorageVolGetInfoFlagsRet,
    StorageVolGetInfoRet, StorageVolGetPathArgs, StorageVolGetPathRet, StorageVolGetXmlDescArgs,
    StorageVolGetXmlDescRet, StorageVolLookupByKeyArgs, StorageVolLookupByKeyRet, StorageVolLookupByNameArgs,
    StorageVolLookupByNameRet, StorageVolLookupByPathArgs, StorageVolLookupByPathRet, StorageVolResizeArgs,
    StorageVolWipeArgs, StorageVolWipePatternArgs,
};

pub(crate) use self::stream::{download, upload};
use super::pool::{fault, fault::of, find, flags_fault, text};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// The most volumes that a list on the wire has.
const LIST_MAX: usize = 16_384;

/// A volume's handle on the wire.
fn wire(pool: &str, volume: &PoolVolume) -> StorageVol {
    StorageVol { pool: pool.into(), name: volume.name.as_str().into(), key: volume.key().into() }
}

/// The pool and name that a handle means; whether there is such a volume is found by who looks for it.
fn place(call: &Call, vol: &StorageVol) -> Result<(PoolHandle, String), Fault> {
    let pool = call.engine().pool_by_name(&call.caller(), &vol.pool.to_string_lossy()).map_err(of)?;
    Ok((pool.handle(), vol.name.to_string_lossy().into_owned()))
}

async fn look(call: &Call, vol: &StorageVol) -> Result<Arc<PoolVolume>, Fault> {
    let (pool, name) = place(call, vol)?;
    call.engine().look_at_volume(&call.caller(), &pool, &name).await.map_err(of)
}

pub(crate) async fn num_of(
    call: &Call,
    args: StoragePoolNumOfVolumesArgs,
) -> Result<StoragePoolNumOfVolumesRet, Fault> {
    let pool = find(call, &args.pool)?.handle();
    let count = call.engine().volume_count(&call.caller(), &pool).map_err(of)?;
    Ok(StoragePoolNumOfVolumesRet { num: i32::try_from(count).unwrap_or(i32::MAX) })
}

pub(crate) async fn list(
    call: &Call,
    args: StoragePoolListVolumesArgs,
) -> Result<StoragePoolListVolumesRet, Fault> {
    let pool = find(call, &args.pool)?.handle();
    let volumes = call.engine().volumes(&call.caller(), &pool).map_err(of)?;
    let most = usize::try_from(args.maxnames).unwrap_or(0);
    Ok(StoragePoolListVolumesRet {
        names: volumes.iter().take(most).map(|volume| volume.name.as_str().into()).collect(),
    })
}

pub(crate) async fn list_all(
    call: &Call,
    args: StoragePoolListAllVolumesArgs,
) -> Result<StoragePoolListAllVolumesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let pool = find(call, &args.pool)?.handle();
    let volumes = call.engine().volumes(&call.caller(), &pool).map_err(of)?;
    let ret = u32::try_from(volumes.len()).unwrap_or(u32::MAX);
    if args.need_results == 0 {
        return Ok(StoragePoolListAllVolumesRet { vols: Vec::new(), ret });
    }
    if volumes.len() > LIST_MAX {
        return Err(Fault::internal(
            Origin::Rpc,
            format!("Too many storage_vols '{}' for limit '{LIST_MAX}'", volumes.len()),
        ));
    }
    let vols = volumes.iter().map(|volume| wire(&pool.name, volume)).collect();
    Ok(StoragePoolListAllVolumesRet { vols, ret })
}

pub(crate) async fn lookup_by_name(
    call: &Call,
    args: StorageVolLookupByNameArgs,
) -> Result<StorageVolLookupByNameRet, Fault> {
    let pool = find(call, &args.pool)?.handle();
    let volume = call.engine().volume(&call.caller(), &pool, &args.name.to_string_lossy()).map_err(of)?;
    Ok(StorageVolLookupByNameRet { vol: wire(&pool.name, &volume) })
}

pub(crate) async fn lookup_by_key(
    call: &Call,
    args: StorageVolLookupByKeyArgs,
) -> Result<StorageVolLookupByKeyRet, Fault> {
    let found = call.engine().volume_by_path(&call.caller(), &args.key.to_string_lossy(), "key");
    let (pool, volume) = found.map_err(of)?;
    Ok(StorageVolLookupByKeyRet { vol: wire(&pool.name, &volume) })
}

pub(crate) async fn lookup_by_path(
    call: &Call,
    args: StorageVolLookupByPathArgs,
) -> Result<StorageVolLookupByPathRet, Fault> {
    let found = call.engine().volume_by_path(&call.caller(), &args.path.to_string_lossy(), "path");
    let (pool, volume) = found.map_err(of)?;
    Ok(StorageVolLookupByPathRet { vol: wire(&pool.name, &volume) })
}

/// `VIR_STORAGE_VOL_CREATE_*`
fn make_options(flags: u32) -> MakeOptions {
    MakeOptions { prealloc_metadata: flags & 1 != 0, reflink: flags & 2 != 0, strict: flags & 4 != 0 }
}

pub(crate) async fn create_xml(
    call: &Call,
    args: StorageVolCreateXmlArgs,
) -> Result<StorageVolCreateXmlRet, Fault> {
    call.only_flags(args.flags, 1 | 4)?;
    let pool = find(call, &args.pool)?.handle();
    let xml = text(&args.xml, "document")?;
    let made = call.engine().create_volume(&call.caller(), &pool, xml, make_options(args.flags)).await;
    Ok(StorageVolCreateXmlRet { vol: wire(&pool.name, &*made.map_err(of)?) })
}

pub(crate) async fn create_xml_from(
    call: &Call,
    args: StorageVolCreateXmlFromArgs,
) -> Result<StorageVolCreateXmlFromRet, Fault> {
    call.only_flags(args.flags, 1 | 2 | 4)?;
    let pool = find(call, &args.pool)?.handle();
    let (from, name) = place(call, &args.clonevol)?;
    let xml = text(&args.xml, "document")?;
    let options = make_options(args.flags);
    let made = call.engine().clone_volume(&call.caller(), &pool, xml, (&from, &name), options).await;
    Ok(StorageVolCreateXmlFromRet { vol: wire(&pool.name, &*made.map_err(of)?) })
}

pub(crate) async fn delete(call: &Call, args: StorageVolDeleteArgs) -> Result<(), Fault> {
    const ZEROED: u32 = 1;
    let unknown = args.flags & !ZEROED;
    if unknown != 0 {
        return Err(flags_fault(unknown, "virStorageBackendVolDeleteLocal"));
    }
    let (pool, name) = place(call, &args.vol)?;
    call.engine().delete_volume(&call.caller(), &pool, &name, args.flags & ZEROED != 0).await.map_err(of)
}

pub(crate) async fn wipe(call: &Call, args: StorageVolWipeArgs) -> Result<(), Fault> {
    if args.flags != 0 {
        return Err(flags_fault(args.flags, "storageVolWipePattern"));
    }
    let (pool, name) = place(call, &args.vol)?;
    call.engine().wipe_volume(&call.caller(), &pool, &name, WipeAlgorithm::Zero).await.map_err(of)
}

pub(crate) async fn wipe_pattern(call: &Call, args: StorageVolWipePatternArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let algorithm = WipeAlgorithm::of(args.algorithm).map_err(|error| fault::of_pool(&error))?;
    let (pool, name) = place(call, &args.vol)?;
    call.engine().wipe_volume(&call.caller(), &pool, &name, algorithm).await.map_err(of)
}

pub(crate) async fn resize(call: &Call, args: StorageVolResizeArgs) -> Result<(), Fault> {
    const ALLOCATE: u32 = 1;
    const DELTA: u32 = 2;
    const SHRINK: u32 = 4;
    if args.capacity == 0 && args.flags & (DELTA | SHRINK) == 0 {
        let text = "capacity in virStorageVolResize cannot be zero without 'delta' or 'shrink' flags set";
        let fault = Fault::bare(Code::InvalidArg, Origin::Storage, text);
        return Err(fault.with_strings("virStorageVolResize", "capacity"));
    }
    call.only_flags(args.flags, ALLOCATE | DELTA | SHRINK)?;
    let (pool, name) = place(call, &args.vol)?;
    let options = ResizeOptions {
        allocate: args.flags & ALLOCATE != 0,
        delta: args.flags & DELTA != 0,
        shrink: args.flags & SHRINK != 0,
    };
    let size = Bytes(args.capacity);
    call.engine().resize_volume(&call.caller(), &pool, &name, size, options).await.map_err(of)
}

fn type_of(volume: &PoolVolume) -> i8 {
    match volume.kind {
        VolumeKind::File => 0,
        VolumeKind::Block => 1,
        VolumeKind::Dir => 2,
    }
}

pub(crate) async fn get_info(
    call: &Call,
    args: StorageVolGetInfoArgs,
) -> Result<StorageVolGetInfoRet, Fault> {
    let volume = look(call, &args.vol).await?;
    Ok(StorageVolGetInfoRet {
        r#type: type_of(&volume),
        capacity: volume.capacity,
        allocation: volume.allocation,
    })
}

pub(crate) async fn get_info_flags(
    call: &Call,
    args: StorageVolGetInfoFlagsArgs,
) -> Result<StorageVolGetInfoFlagsRet, Fault> {
    const GET_PHYSICAL: u32 = 1;
    call.only_flags(args.flags, GET_PHYSICAL)?;
    let volume = look(call, &args.vol).await?;
    let is_physical = args.flags & GET_PHYSICAL != 0;
    Ok(StorageVolGetInfoFlagsRet {
        r#type: type_of(&volume),
        capacity: volume.capacity,
        allocation: if is_physical { volume.physical } else { volume.allocation },
    })
}

pub(crate) async fn get_xml_desc(
    call: &Call,
    args: StorageVolGetXmlDescArgs,
) -> Result<StorageVolGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(StorageVolGetXmlDescRet { xml: look(call, &args.vol).await?.xml().into() })
}

pub(crate) async fn get_path(
    call: &Call,
    args: StorageVolGetPathArgs,
) -> Result<StorageVolGetPathRet, Fault> {
    let (pool, name) = place(call, &args.vol)?;
    let volume = call.engine().volume(&call.caller(), &pool, &name).map_err(of)?;
    Ok(StorageVolGetPathRet { name: volume.key().into() })
}
