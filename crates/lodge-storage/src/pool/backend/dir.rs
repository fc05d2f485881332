//! Directories: made, looked into, removed. What is mounted is a directory too.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt},
    path::Path,
};

use lodge_model::storage::Pool;
use lodge_sys::fs::{create_dirs_durable, sync_dir};

use super::{Seen, Volumes, dir_of, off_thread};
use crate::{
    pool::{
        document::{self, Room},
        error::PoolError,
        run::BuildOptions,
    },
    vol::{facts::Owner, scan::scan},
};

/// Mode of a pool's directory where the document says none; libvirt's.
const DIR_MODE: u32 = 0o711;

/// Makes the directory. There is no device to format.
pub(super) async fn build(pool: Pool, options: BuildOptions) -> Result<(), PoolError> {
    let name = pool.name.clone();
    make(pool).await?;
    if options.overwrite || options.no_overwrite {
        return Err(PoolError::State(format!("No source device specified when formatting pool '{name}'")));
    }
    Ok(())
}

pub(super) async fn make(pool: Pool) -> Result<(), PoolError> {
    let path = dir_of(&pool)?;
    off_thread(move || make_dir(&path, &pool)).await
}

/// Removes the directory. It must be empty.
pub(super) async fn delete(pool: Pool) -> Result<(), PoolError> {
    let path = dir_of(&pool)?;
    off_thread(move || {
        let failed =
            |source| PoolError::system(format!("failed to remove pool '{}'", path.display()), source);
        fs::remove_dir(&path).map_err(failed)?;
        path.parent().map_or(Ok(()), sync_dir).map_err(failed)
    })
    .await
}

pub(super) async fn look(pool: Pool, known: Volumes) -> Result<Seen, PoolError> {
    let path = dir_of(&pool)?;
    off_thread(move || see(&path, &known)).await
}

/// Makes a pool's directory with the wanted owner and mode. One that is there stays as it is, unless the document
/// wants it otherwise.
fn make_dir(path: &Path, def: &Pool) -> Result<(), PoolError> {
    let failed = |source| PoolError::system(format!("cannot create path '{}'", path.display()), source);
    let (mode, uid, gid) = document::wanted(def.target.as_deref());
    if let Some(parent) = path.parent() {
        create_dirs_durable(parent, 0o755).map_err(failed)?;
    }
    let is_new = match fs::DirBuilder::new().mode(mode.unwrap_or(DIR_MODE)).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => false,
        Err(error) => return Err(failed(error)),
    };
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::chown(path, uid, gid).map_err(failed)?;
    }
    if let Some(mode) = mode.or(is_new.then_some(DIR_MODE)) {
        // Not what the umask left of it.
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(failed)?;
    }
    path.parent().map_or(Ok(()), sync_dir).map_err(failed)
}

fn see(path: &Path, known: &Volumes) -> Result<Seen, PoolError> {
    let failed = |source| PoolError::system(format!("cannot open directory '{}'", path.display()), source);
    let volumes = scan(path, known).map_err(failed)?;
    let owner = Owner::of(&fs::metadata(path).map_err(failed)?);
    Ok(Seen { room: room(path)?, owner: Some(owner), volumes, free: Vec::new() })
}

/// The room on a directory's file system.
pub(crate) fn room(path: &Path) -> Result<Room, PoolError> {
    let failed = |source| PoolError::system(format!("cannot statvfs path '{}'", path.display()), source);
    let stat = rustix::fs::statvfs(path).map_err(failed)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    // What only root may fill counts as free, as libvirt has it.
    let (capacity, available) = (bytes(stat.f_blocks), bytes(stat.f_bfree));
    Ok(Room { capacity, available, allocation: capacity.saturating_sub(available) })
}
