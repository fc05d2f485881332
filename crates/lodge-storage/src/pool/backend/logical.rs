//! A volume group: its logical volumes are the pool's volumes.
//!
//! LVM is the truth about its groups; nothing of it is remembered here. `lvs` and its kin answer in JSON, which
//! [`report`] reads. Names have been judged ([`shape::is_plain_name`]): none is an option or leads elsewhere.

pub(crate) mod report;
pub(crate) mod volume;

use std::path::Path;

use lodge_model::storage::Pool;
use lodge_sys::tool::Tool;

use self::report::{Group, Logical};
use super::{Seen, Truth, Volumes, block_device, devices, dir_of, empty, off_thread, source_name, tool};
use crate::{
    pool::{document::Room, error::PoolError, run::BuildOptions, shape},
    vol::{
        facts::{BackingFacts, BlockFacts, ExtentOf},
        kind::VolumeFormat,
        scan,
    },
};

/// The group, by a name that is one.
fn group_of(pool: &Pool) -> Result<&str, PoolError> {
    let name = source_name(pool);
    if shape::is_plain_name(name) {
        return Ok(name);
    }
    Err(PoolError::Document(format!("source name '{name}' cannot be a volume group's")))
}

/// A report of LVM's, in bytes.
fn reporting(program: &'static str, fields: &str) -> Tool {
    tool(program).args(["--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields])
}

pub(super) async fn truth(pool: &Pool) -> Result<Truth, PoolError> {
    let path = dir_of(pool)?;
    let is_there = off_thread(move || Ok(path.exists())).await?;
    Ok(if is_there { Truth::Runs } else { Truth::AsNoted })
}

/// Makes the physical volumes and the group. What was made goes again if the rest fails.
pub(super) async fn build(pool: &Pool, options: BuildOptions) -> Result<(), PoolError> {
    let group = group_of(pool)?;
    let devices: Vec<String> = devices(pool).into_iter().map(str::to_owned).collect();
    if devices.is_empty() {
        return Err(PoolError::State(format!(
            "No source device specified when formatting pool '{}'",
            pool.name
        )));
    }
    for device in &devices {
        let path = std::path::PathBuf::from(device);
        off_thread(move || block_device(&path)).await?;
        if !options.overwrite {
            empty::require(Path::new(device), "LVM2_member").await?;
        }
    }
    let mut made = Vec::new();
    let built = async {
        for device in &devices {
            if options.overwrite {
                // Only what was there before; LVM refuses a device that is part of a group.
                tool("wipefs").args(["--all", "--quiet"]).arg(device).run().await?;
            }
            tool("pvcreate").arg("--yes").arg(device).run().await?;
            made.push(device);
        }
        tool("vgcreate").arg(group).args(&devices).run().await
    };
    if let Err(error) = built.await {
        for device in made {
            if let Err(error) = tool("pvremove").arg(device).run().await {
                tracing::warn!(device, %error, "physical volume of a failed build not removed");
            }
        }
        return Err(error.into());
    }
    Ok(())
}

/// Activates the group's volumes. The devices that the document names must be the group's.
pub(super) async fn start(pool: &Pool) -> Result<(), PoolError> {
    let group = group_of(pool)?;
    let printed = reporting("pvs", "pv_name,vg_name").run().await?;
    let owned = report::members(&printed).map_err(PoolError::Internal)?;
    let members: Vec<_> =
        owned.iter().filter(|(_, owner)| owner == group).map(|(device, _)| device).collect();
    if members.is_empty() {
        return Err(PoolError::Missing(format!("cannot find logical volume group name '{group}'")));
    }
    let named = devices(pool);
    if !named.is_empty() {
        let (named, members): (Vec<_>, Vec<_>) =
            (named.into_iter().map(str::to_owned).collect(), members.into_iter().cloned().collect());
        let found =
            off_thread(move || Ok(named.iter().filter(|name| is_among(name, &members)).count())).await?;
        if found == 0 {
            return Err(PoolError::Clash(format!(
                "cannot find any matching source devices for logical volume group '{group}'"
            )));
        }
    }
    tool("vgchange").args(["-ay", group]).run().await?;
    super::settle_devices().await;
    Ok(())
}

/// Whether a device is one of these, by whichever name.
fn is_among(name: &str, members: &[String]) -> bool {
    let real = |path: &str| std::fs::canonicalize(path).ok();
    let wanted = real(name);
    members.iter().any(|member| member == name || (wanted.is_some() && real(member) == wanted))
}

/// Deactivates the group's volumes. LVM refuses while one is open.
pub(super) async fn stop(pool: &Pool) -> Result<(), PoolError> {
    Ok(tool("vgchange").args(["-an", group_of(pool)?]).run().await.map(drop)?)
}

/// Removes the group, with its volumes, and its physical volumes.
pub(super) async fn delete(pool: &Pool) -> Result<(), PoolError> {
    tool("vgremove").args(["-f", group_of(pool)?]).run().await?;
    let mut failed = None;
    for device in devices(pool) {
        // Each is tried; the first failure is told.
        if let Err(error) = tool("pvremove").arg(device).run().await {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

pub(super) async fn look(pool: &Pool) -> Result<Seen, PoolError> {
    let group = group_of(pool)?;
    let printed = reporting("vgs", "vg_size,vg_free").arg(group).run().await?;
    let Group { size, free } = report::group(&printed).map_err(PoolError::Internal)?;
    let logical = logical_volumes(group, None).await?;
    let dir = dir_of(pool)?;
    let volumes = off_thread(move || Ok(volumes(&dir, logical))).await?;
    let room = Room { capacity: size, available: free, allocation: size.saturating_sub(free) };
    Ok(Seen { room, owner: None, volumes, free: Vec::new() })
}

/// The volumes of a group, or one of them.
async fn logical_volumes(group: &str, name: Option<&str>) -> Result<Vec<Logical>, PoolError> {
    let run = reporting("lvs", report::VOLUME_FIELDS);
    let run = match name {
        Some(name) => run.arg(format!("{group}/{name}")),
        None => run.arg(group),
    };
    report::volumes(&run.run().await?).map_err(PoolError::Internal)
}

/// What of them are volumes: those with a device.
fn volumes(dir: &Path, logical: Vec<Logical>) -> Volumes {
    let mut found = Volumes::new();
    for logical in logical {
        let path = dir.join(&logical.name);
        match scan::look_at_device(&path, &logical.name) {
            Ok(Some(mut volume)) => {
                volume.allocation = logical.allocation;
                volume.backing = logical.origin.as_ref().map(|origin| BackingFacts {
                    path: dir.join(origin),
                    format: VolumeFormat::Raw,
                    owner: None,
                    times: None,
                });
                let extents = logical
                    .segments
                    .iter()
                    .map(|(device, extent)| ExtentOf { device: device.clone(), extent: *extent });
                volume.block = Some(BlockFacts {
                    key: Some(logical.uuid),
                    format: None,
                    extents: extents.collect(),
                    part: None,
                });
                found.insert(logical.name, std::sync::Arc::new(volume));
            }
            Ok(None) => tracing::debug!(path = %path.display(), "logical volume without a device left out"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "logical volume left out"),
        }
    }
    found
}
