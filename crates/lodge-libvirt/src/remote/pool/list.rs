//! Lists of pools.

use lodge_engine::storage::PoolView;
use lodge_model::storage::PoolKind;
use lodge_wire::Text;
use lodge_wire::remote::{
    ConnectListAllStoragePoolsArgs, ConnectListAllStoragePoolsRet, ConnectListDefinedStoragePoolsArgs,
    ConnectListDefinedStoragePoolsRet, ConnectListStoragePoolsArgs, ConnectListStoragePoolsRet,
    ConnectNumOfDefinedStoragePoolsRet, ConnectNumOfStoragePoolsRet,
};

use super::wire;
use crate::call::Call;
use crate::fault::Fault;

fn names(call: &Call, active: bool, most: i32) -> Vec<Text> {
    let pools = call.engine().pools(&call.caller()).into_iter().filter(|pool| pool.is_active == active);
    pools.map(|pool| pool.name.into()).take(usize::try_from(most).unwrap_or(0)).collect()
}

fn count(call: &Call, active: bool) -> i32 {
    let count = call.engine().pools(&call.caller()).iter().filter(|pool| pool.is_active == active).count();
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(crate) async fn num_of(call: &Call, (): ()) -> Result<ConnectNumOfStoragePoolsRet, Fault> {
    Ok(ConnectNumOfStoragePoolsRet { num: count(call, true) })
}

pub(crate) async fn num_of_defined(call: &Call, (): ()) -> Result<ConnectNumOfDefinedStoragePoolsRet, Fault> {
    Ok(ConnectNumOfDefinedStoragePoolsRet { num: count(call, false) })
}

pub(crate) async fn list(
    call: &Call,
    args: ConnectListStoragePoolsArgs,
) -> Result<ConnectListStoragePoolsRet, Fault> {
    Ok(ConnectListStoragePoolsRet { names: names(call, true, args.maxnames) })
}

pub(crate) async fn list_defined(
    call: &Call,
    args: ConnectListDefinedStoragePoolsArgs,
) -> Result<ConnectListDefinedStoragePoolsRet, Fault> {
    Ok(ConnectListDefinedStoragePoolsRet { names: names(call, false, args.maxnames) })
}

pub(crate) async fn list_all(
    call: &Call,
    args: ConnectListAllStoragePoolsArgs,
) -> Result<ConnectListAllStoragePoolsRet, Fault> {
    call.only_flags(args.flags, (1 << 20) - 1)?;
    let pools = call.engine().pools(&call.caller());
    let pools: Vec<_> = pools.iter().filter(|pool| passes(pool, args.flags)).map(wire).collect();
    let ret = u32::try_from(pools.len()).unwrap_or(u32::MAX);
    Ok(ConnectListAllStoragePoolsRet { pools: if args.need_results == 0 { Vec::new() } else { pools }, ret })
}

/// Whether a pool is among those that `VIR_CONNECT_LIST_STORAGE_POOLS_*` ask for.
fn passes(pool: &PoolView, flags: u32) -> bool {
    let either = |yes: u32, no: u32, is: bool| {
        let (yes, no) = (1 << yes, 1 << no);
        flags & (yes | no) == 0 || flags & (if is { yes } else { no }) != 0
    };
    // From bit 6 on; the order is not that of the types.
    const KINDS: [PoolKind; 14] = [
        PoolKind::Dir,
        PoolKind::Fs,
        PoolKind::Netfs,
        PoolKind::Logical,
        PoolKind::Disk,
        PoolKind::Iscsi,
        PoolKind::Scsi,
        PoolKind::Mpath,
        PoolKind::Rbd,
        PoolKind::Sheepdog,
        PoolKind::Gluster,
        PoolKind::Zfs,
        PoolKind::Vstorage,
        PoolKind::IscsiDirect,
    ];
    let kinds = flags >> 6;
    let kind = KINDS.iter().position(|kind| *kind == pool.kind);
    either(1, 0, pool.is_active)
        && either(2, 3, pool.is_persistent)
        && either(4, 5, pool.autostart)
        && (kinds == 0 || kind.is_some_and(|bit| kinds & (1 << bit) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_group_are_either_or_and_groups_are_both() {
        let pool = PoolView {
            id: lodge_model::PoolId::random(),
            name: "p".to_owned(),
            kind: PoolKind::Dir,
            path: None,
            is_active: true,
            is_persistent: true,
            autostart: false,
            capacity: 0,
            allocation: 0,
            available: 0,
            reflink: None,
        };
        let passing = [0, 2, 3, 2 | 4, 32, 64, 64 | 256, 2 | 4 | 32 | 64];
        assert!(passing.iter().all(|flags| passes(&pool, *flags)));
        assert!([1, 8, 16, 128, 2 | 8, 64 | 1].iter().all(|flags| !passes(&pool, *flags)));
    }
}
