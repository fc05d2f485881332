//! Partitions made and removed.

use lodge_model::storage::Pool;

use super::{device_of, off_thread, plan, real, separator_of, table::PartKind, table_of, tool};
use crate::{
    pool::{backend::settle_devices, error::PoolError},
    vol::wanted::Wanted,
};

/// Makes a partition. Its name must be the one that its number gives it: libvirt's rule.
pub(crate) async fn create(pool: &Pool, wanted: &Wanted) -> Result<(), PoolError> {
    let device = device_of(pool).await?;
    let table = table_of(&device).await?;
    let table = table.ok_or_else(|| {
        PoolError::Clash(format!("device '{}' has no partition table any more", device.display()))
    })?;
    if wanted.backing.is_some() {
        return Err(PoolError::NoSupport("backing storage not supported for partitions".to_owned()));
    }
    let format = wanted.format_word.as_deref().unwrap_or(super::FORMAT_UNKNOWN);
    let part = plan::plan(&table, wanted.capacity.unwrap_or_default(), format)?;
    let node = plan::node_of(&real(&device), separator_of(pool).as_deref(), part.number);
    let expected = node.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if wanted.name != expected {
        let name = &wanted.name;
        return Err(PoolError::Argument(format!("invalid partition name '{name}', expected '{expected}'")));
    }
    let run = tool("parted").args(["--script", "--align", "none"]).arg(&device);
    run.args(part.arguments(&table.label)).run().await?;
    let flag = match format {
        "linux-lvm" => Some("lvm"),
        "linux-raid" => Some("raid"),
        _ => None,
    };
    if let Some(flag) = flag {
        let run = tool("parted").arg("--script").arg(&device);
        let flagged = run.args(["set", &part.number.to_string(), flag, "on"]).run().await;
        if let Err(error) = flagged {
            remove_number(pool, part.number).await?;
            return Err(error.into());
        }
    }
    settle_devices().await;
    off_thread(move || {
        if node.exists() {
            return Ok(());
        }
        let text = format!("partition was made, but its device '{}' did not appear", node.display());
        Err(PoolError::Internal(text))
    })
    .await
}

/// Removes a partition. An extended one that holds others stays: they would go along.
pub(crate) async fn remove(pool: &Pool, name: &str, number: u32) -> Result<(), PoolError> {
    let device = device_of(pool).await?;
    let table = table_of(&device).await?;
    let parts = table.map(|table| table.parts).unwrap_or_default();
    let is_extended = parts.iter().any(|part| part.number == number && part.kind == PartKind::Extended);
    if is_extended && parts.iter().any(|part| part.kind == PartKind::Logical) {
        let why = "logical partitions are in it".to_owned();
        let next = "delete the logical partitions first".to_owned();
        return Err(PoolError::InUse { name: name.to_owned(), why, next });
    }
    remove_number(pool, number).await
}

async fn remove_number(pool: &Pool, number: u32) -> Result<(), PoolError> {
    let device = device_of(pool).await?;
    let run = tool("parted").arg("--script").arg(&device).args(["rm", &number.to_string()]);
    run.run().await?;
    settle_devices().await;
    Ok(())
}
