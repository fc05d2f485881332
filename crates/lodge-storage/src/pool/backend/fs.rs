//! A device with a file system: formatted by `mkfs`, mounted for as long as the pool runs.

use std::path::Path;

use lodge_model::storage::Pool;

use super::{dir, dir_of, empty, format, mount::Mount, off_thread, one_device, tool};
use crate::pool::{error::PoolError, run::BuildOptions};

/// What libvirt mounts with: nothing on it is a device or a program.
pub(super) const SAFE: [&str; 3] = ["nodev", "nosuid", "noexec"];

pub(super) fn mount_of(pool: &Pool) -> Result<Mount, PoolError> {
    let device = one_device(pool)?;
    Ok(Mount {
        source: device.display().to_string(),
        is_local: true,
        kind: Some(format(pool).to_owned()),
        options: options(pool)?,
        target: dir_of(pool)?,
    })
}

/// The mount options: ours, and those of `<fs:mount_opts>`.
pub(super) fn options(pool: &Pool) -> Result<Vec<String>, PoolError> {
    let mut options: Vec<String> = SAFE.map(str::to_owned).to_vec();
    options.extend(super::mount::options::wanted(pool)?);
    Ok(options)
}

/// Makes the directory, and the file system if that is asked for.
pub(super) async fn build(pool: Pool, options: BuildOptions) -> Result<(), PoolError> {
    dir::make(pool.clone()).await?;
    if !options.overwrite && !options.no_overwrite {
        return Ok(());
    }
    let (device, format) = (one_device(&pool)?.to_owned(), format(&pool).to_owned());
    let (name, at) = (pool.name.clone(), device.clone());
    off_thread(move || {
        if at.exists() {
            return Ok(());
        }
        Err(PoolError::State(format!("Source device does not exist when formatting pool '{name}'")))
    })
    .await?;
    if !options.overwrite {
        empty::require(&device, &format).await?;
    }
    make_file_system(&device, &format).await
}

async fn make_file_system(device: &Path, format: &str) -> Result<(), PoolError> {
    let mkfs = tool("mkfs").args(["-t", format]);
    // XFS asks for it where it finds another file system; that has been judged here.
    let mkfs = if format == "xfs" { mkfs.arg("-f") } else { mkfs };
    mkfs.arg(device).run().await.map(drop).map_err(|error| {
        let why = PoolError::from(error);
        PoolError::Failed {
            act: format!("Failed to make filesystem of type '{format}' on device '{}'", device.display()),
            why: Box::new(why),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::document;

    #[test]
    fn a_device_is_mounted_with_libvirts_options() {
        let text = "<pool type='fs'><name>a</name><source><device path='/dev/sdb1'/><format type='ext4'/></source>\
                    <target><path>/x</path></target></pool>";
        let mount = mount_of(&document::read(text, false).unwrap()).unwrap();
        assert_eq!(mount.source, "/dev/sdb1");
        assert_eq!((mount.kind.as_deref(), mount.options.join(",")), (Some("ext4"), SAFE.join(",")));
    }

    #[test]
    fn two_devices_are_one_too_many() {
        let text = "<pool type='fs'><name>a</name><source><device path='/dev/a'/><device path='/dev/b'/></source>\
                    <target><path>/x</path></target></pool>";
        let error = mount_of(&document::read(text, false).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "expected exactly 1 device for the storage pool");
    }
}
