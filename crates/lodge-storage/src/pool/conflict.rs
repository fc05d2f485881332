//! Whether two pools are made of the same: libvirt's rule, by what the documents say. Pure.

use lodge_model::storage::{Pool, PoolKind, SourceHost};

use super::backend::{devices, source_name};

/// Whether one of them cannot be while the other is.
pub(crate) fn share_source(there: &Pool, new: &Pool) -> bool {
    match there.kind {
        PoolKind::Dir => there.kind == new.kind && there.path() == new.path(),
        PoolKind::Netfs => there.kind == new.kind && dir(there) == dir(new) && same_host(there, new),
        PoolKind::Gluster => {
            there.kind == new.kind
                && source_name(there) == source_name(new)
                && dir(there) == dir(new)
                && same_host(there, new)
        }
        PoolKind::Fs | PoolKind::Logical | PoolKind::Disk | PoolKind::Zfs => {
            is_of_devices(new.kind) && share_device(there, new)
        }
        // A target has many devices; the same one by the same name is the same.
        PoolKind::Iscsi => {
            there.kind == new.kind && share_device(there, new) && initiator(there) == initiator(new)
        }
        PoolKind::Scsi => there.kind == new.kind && adapter(there) == adapter(new),
        PoolKind::Sheepdog => there.kind == new.kind && same_host(there, new),
        // There is one of them on a host.
        PoolKind::Mpath => there.kind == new.kind,
        PoolKind::Vstorage => there.kind == new.kind && source_name(there) == source_name(new),
        PoolKind::IscsiDirect | PoolKind::Rbd => false,
    }
}

fn is_of_devices(kind: PoolKind) -> bool {
    matches!(kind, PoolKind::Fs | PoolKind::Logical | PoolKind::Disk | PoolKind::Zfs)
}

fn share_device(one: &Pool, other: &Pool) -> bool {
    let others = devices(other);
    let shared = devices(one).iter().any(|device| others.contains(device));
    // A group needs no device in its document; the group itself can be two pools' no more than a device.
    let same_group = one.kind == PoolKind::Logical
        && other.kind == PoolKind::Logical
        && source_name(one) == source_name(other);
    shared || same_group
}

fn dir(pool: &Pool) -> Option<&str> {
    pool.source.as_deref()?.dir.as_ref()?.path.as_deref()
}

fn same_host(one: &Pool, other: &Pool) -> bool {
    let host = |pool: &Pool| -> Option<SourceHost> {
        match &pool.source.as_deref()?.hosts[..] {
            [host] => Some(host.clone()),
            _ => None,
        }
    };
    let (Some(one), Some(other)) = (host(one), host(other)) else { return false };
    one.name == other.name && (other.port.is_none() || one.port == other.port)
}

fn initiator(pool: &Pool) -> Option<String> {
    Some(pool.source.as_deref()?.initiator.elements().collect())
}

fn adapter(pool: &Pool) -> Option<String> {
    Some(pool.source.as_deref()?.adapter.elements().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kind: &str, source: &str) -> Pool {
        let text = format!(
            "<pool type='{kind}'><name>{kind}</name><source>{source}</source><target><path>/x</path></target></pool>"
        );
        crate::pool::document::read(&text, false).unwrap()
    }

    #[test]
    fn a_device_is_one_pools_whatever_their_types() {
        let device = |path: &str| format!("<device path='{path}'/>");
        let fs = pool("fs", &device("/dev/sdb"));
        assert!(share_source(&fs, &pool("disk", &device("/dev/sdb"))));
        assert!(!share_source(&fs, &pool("disk", &device("/dev/sdc"))));
        let group = |name: &str| pool("logical", &format!("<name>{name}</name>"));
        assert!(share_source(&group("a"), &group("a")) && !share_source(&group("a"), &group("b")));
    }

    #[test]
    fn a_servers_directory_is_one_pools() {
        let netfs =
            |host: &str, dir: &str| pool("netfs", &format!("<host name='{host}'/><dir path='{dir}'/>"));
        assert!(share_source(&netfs("h", "/d"), &netfs("h", "/d/")));
        assert!(!share_source(&netfs("h", "/d"), &netfs("i", "/d")));
        assert!(!share_source(&netfs("h", "/d"), &netfs("h", "/e")));
    }
}
