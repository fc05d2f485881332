//! Looking at one volume: its sizes and times as they are now.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    facts::{PoolVolume, Stamp},
    kind::VolumeFormat,
    scan::{look, look_at_device},
};
use crate::{
    chain::{Gate, Keys, OpenLink, open_chain},
    file::Access,
    format::Format,
    image::real,
    limits,
    pool::{Pools, error::PoolError, silent, table::PoolHandle},
};

impl Pools {
    /// A volume as it is now. One whose file is gone is told so.
    pub async fn look_at(&self, pool: &PoolHandle, name: &str) -> Result<Arc<PoolVolume>, PoolError> {
        let known = self.volume(pool, name)?;
        let permit = self.permit(pool).await?;
        let seen = Arc::clone(&known);
        let see = move || {
            let failed =
                |source| PoolError::system(format!("cannot open volume '{}'", seen.path.display()), source);
            if seen.block.is_some() {
                return Ok(look_at_device(&seen.path, &seen.name)
                    .map_err(failed)?
                    .map(|now| device_again(&seen, &now)));
            }
            look(&seen.path, &seen.name, Some(&seen)).map_err(failed)
        };
        let (found, _permit) = self.blocking(pool, limits::LOOK, permit, see).await?;
        let Some(mut found) = found else {
            return Err(PoolError::NoVolume { by: "path", value: known.key() });
        };
        if !known.is_probed {
            found = shown_as(found, &known);
        }
        found = self.with_its_secret(found);
        if found == *known {
            return Ok(known);
        }
        self.change(
            pool,
            |slot| {
                if slot.volumes.contains_key(name) { slot.put(found) } else { Arc::new(found) }
            },
        )
    }

    /// The files of a volume's chain, open, whichever of them are encrypted; of a format that is neither raw nor qcow2 none.
    pub(crate) async fn chain_of_volume(
        &self,
        pool: &PoolHandle,
        volume: &PoolVolume,
    ) -> Result<Vec<OpenLink>, PoolError> {
        let format = match volume.format {
            VolumeFormat::Qcow2 => Format::Qcow2,
            format if format.is_plain() => Format::Raw,
            _ => return Ok(Vec::new()),
        };
        let gate = Gate { keys: Keys::Asked, ..self.storage().gate() };
        let (path, is_device) = (volume.path.clone(), volume.block.is_some());
        let look = move || {
            // A device's name is a link, which leads nowhere where only the device is.
            let path = if is_device { real(&path) } else { path };
            open_chain(&path, format, Access::Read, &gate).map_err(PoolError::Disk)
        };
        self.blocking(pool, limits::LOOK, (), look).await.map(|(chain, ())| chain)
    }

    /// A place among those who look at files of a pool.
    pub(crate) async fn permit(&self, pool: &PoolHandle) -> Result<OwnedSemaphorePermit, PoolError> {
        let looks = self.with(pool.id, Some(&pool.name), |slot| Arc::clone(&slot.looks))?;
        match tokio::time::timeout(limits::LOOK, looks.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(silent(pool, limits::LOOK)),
        }
    }
}

/// A device as it is now, with what its pool said of it.
fn device_again(known: &PoolVolume, now: &PoolVolume) -> PoolVolume {
    // The device of an extended partition, and that of a thin volume, say little.
    PoolVolume { owner: now.owner, times: now.times, stamp: now.stamp, ..known.clone() }
}

/// New facts, with what a new volume was asked to be.
pub(crate) fn shown_as(found: PoolVolume, known: &PoolVolume) -> PoolVolume {
    let mut backing = found.backing;
    if let (Some(backing), Some(asked)) = (&mut backing, &known.backing) {
        backing.path.clone_from(&asked.path);
    }
    PoolVolume {
        format: known.format,
        compat: known.compat.clone(),
        cluster_bytes: known.cluster_bytes,
        features: known.features,
        backing,
        encryption: known.encryption.clone().or(found.encryption),
        is_probed: false,
        stamp: Stamp { ..found.stamp },
        ..found
    }
}
