//! Logical volumes made, resized, removed.
//!
//! A volume that takes less than it shows is a snapshot of nothing, as libvirt makes it: `lvcreate --virtualsize`.

use std::{
    ffi::OsString,
    os::unix::fs::{PermissionsExt as _, fchown},
    path::Path,
};

use lodge_model::storage::Pool;

use super::{dir_of, group_of, logical_volumes, off_thread, shape, tool};
use crate::{
    pool::{backend::settle_devices, error::PoolError},
    vol::wanted::Wanted,
};

const KIB: u64 = 1024;

/// Makes a volume. What was made goes again if it cannot be given to its owner.
pub(crate) async fn create(pool: &Pool, wanted: &Wanted) -> Result<(), PoolError> {
    let group = group_of(pool)?;
    check_name(&wanted.name)?;
    tool("lvcreate").args(arguments(group, pool, wanted)?).run().await?;
    let given = give(pool, wanted).await;
    if given.is_err()
        && let Err(error) = remove(pool, &wanted.name).await
    {
        tracing::warn!(volume = %wanted.name, %error, "volume that was not wanted so is left");
    }
    given
}

fn check_name(name: &str) -> Result<(), PoolError> {
    if shape::is_plain_name(name) {
        return Ok(());
    }
    Err(PoolError::Argument(format!("'{name}' cannot be the name of a logical volume")))
}

/// `lvcreate`'s arguments.
fn arguments(group: &str, pool: &Pool, wanted: &Wanted) -> Result<Vec<OsString>, PoolError> {
    let kib = |bytes: u64| format!("{}K", bytes.max(1).div_ceil(KIB));
    let capacity = wanted.capacity.unwrap_or_default();
    let mut args: Vec<OsString> =
        vec!["--yes".into(), "--name".into(), wanted.name.clone().into(), "-L".into()];
    let allocation = wanted.allocation.unwrap_or(capacity);
    if let Some((backing, _)) = &wanted.backing {
        let dir = dir_of(pool)?;
        // Only a volume of this group: a name that leads elsewhere is told, not followed.
        let name = Path::new(backing).strip_prefix(&dir).unwrap_or(Path::new(backing));
        let name = name.to_str().filter(|name| shape::is_plain_name(name)).ok_or_else(|| {
            PoolError::Argument(format!("backing volume '{backing}' is none of the pool '{}'", pool.name))
        })?;
        args.extend([kib(allocation).into(), "-s".into(), dir.join(name).into()]);
        return Ok(args);
    }
    if allocation < capacity {
        args.extend([kib(allocation).into(), "--type".into(), "snapshot".into()]);
        args.extend(["--virtualsize".into(), OsString::from(kib(capacity))]);
    } else {
        args.push(kib(capacity).into());
    }
    args.push(group.into());
    Ok(args)
}

/// Gives a new volume's device to its owner.
async fn give(pool: &Pool, wanted: &Wanted) -> Result<(), PoolError> {
    settle_devices().await;
    let path = dir_of(pool)?.join(&wanted.name);
    let (uid, gid, mode) = (wanted.uid, wanted.gid, wanted.mode);
    off_thread(move || {
        let failed = |what: &str, source| PoolError::system(format!("{what} '{}'", path.display()), source);
        let file = std::fs::File::open(&path).map_err(|source| failed("cannot open volume", source))?;
        fchown(&file, uid, gid).map_err(|source| failed("cannot set file owner", source))?;
        let mode = std::fs::Permissions::from_mode(mode);
        file.set_permissions(mode).map_err(|source| failed("cannot set file mode", source))
    })
    .await
}

/// Removes a volume. What stands on it has been looked for by the caller, and is looked for again by LVM's word.
pub(crate) async fn remove(pool: &Pool, name: &str) -> Result<(), PoolError> {
    let group = group_of(pool)?;
    check_name(name)?;
    let snapshots = logical_volumes(group, None).await?;
    if let Some(snapshot) = snapshots.iter().find(|volume| volume.origin.as_deref() == Some(name)) {
        // `lvremove -f` would take it along.
        let why = format!("volume '{}' stands on it", snapshot.name);
        let next = format!("delete '{}' first", snapshot.name);
        return Err(PoolError::InUse { name: name.to_owned(), why, next });
    }
    let path = dir_of(pool)?.join(name);
    tool("lvremove").arg("-f").arg(&path).run().await.map(drop).map_err(PoolError::from)
}

/// Gives a volume another size.
pub(crate) async fn resize(pool: &Pool, name: &str, bytes: u64) -> Result<(), PoolError> {
    check_name(name)?;
    let path = dir_of(pool)?.join(name);
    let run = tool("lvresize").args(["--yes", "--force", "-L"]).arg(format!("{}K", bytes.div_ceil(KIB)));
    run.arg(&path).run().await.map(drop).map_err(PoolError::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::document;

    fn words(volume: &str) -> Result<String, String> {
        let pool = "<pool type='logical'><name>p</name><source><name>vg0</name></source></pool>";
        let pool = document::read(pool, false).unwrap();
        let wanted = Wanted::read(&format!("<volume>{volume}</volume>"), false, true).unwrap();
        let args = arguments("vg0", &pool, &wanted).map_err(|error| error.to_string())?;
        Ok(args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn volumes_are_made_as_libvirt_makes_them() {
        let size = "<name>v</name><capacity unit='MiB'>8</capacity>";
        assert_eq!(words(size).unwrap(), "--yes --name v -L 8192K vg0");
        let thin = format!("{size}<allocation>0</allocation>");
        assert_eq!(words(&thin).unwrap(), "--yes --name v -L 1K --type snapshot --virtualsize 8192K vg0");
        let on = |path: &str| words(&format!("{size}<backingStore><path>{path}</path></backingStore>"));
        assert_eq!(on("/dev/vg0/base").unwrap(), "--yes --name v -L 8192K -s /dev/vg0/base");
        assert_eq!(on("/etc/passwd").unwrap_err(), "backing volume '/etc/passwd' is none of the pool 'p'");
        assert_eq!(
            on("/dev/vg0/../sda").unwrap_err(),
            "backing volume '/dev/vg0/../sda' is none of the pool 'p'"
        );
    }
}
