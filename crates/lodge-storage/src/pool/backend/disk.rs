//! A device with a partition table: its partitions are the pool's volumes.
//!
//! `parted` reads and writes the table, and tells the kernel. Its JSON is read in [`table`], which extent a new
//! partition gets is decided in [`plan`]; both are pure.

pub(crate) mod plan;
pub(crate) mod table;
pub(crate) mod volume;

use std::path::{Path, PathBuf};

use lodge_model::storage::{Extent, Pool};
use lodge_sys::tool::ToolError;

use self::table::{PartKind, Table};
use super::{Seen, Volumes, dir_of, format, off_thread, one_device, settle_devices, tool};
use crate::{
    pool::{document::Room, error::PoolError, run::BuildOptions},
    vol::{
        facts::{BlockFacts, ExtentOf},
        scan,
    },
};

/// libvirt's word for the format of a partition nobody told it about.
pub(crate) const FORMAT_UNKNOWN: &str = "none";

/// The device, which must be there.
async fn device_of(pool: &Pool) -> Result<PathBuf, PoolError> {
    let device = one_device(pool)?.to_owned();
    off_thread(move || {
        if !device.exists() {
            return Err(PoolError::Argument(format!("device path '{}' doesn't exist", device.display())));
        }
        super::block_device(&device)?;
        Ok(device)
    })
    .await
}

/// The table on a device; none: `parted` knows no label there.
async fn table_of(device: &Path) -> Result<Option<Table>, PoolError> {
    // In bytes, with what is free between.
    let run = tool("parted").args(["--script", "--json"]).arg(device).args(["unit", "B", "print", "free"]);
    match run.run().await {
        Ok(printed) => table::read(&printed).map_err(PoolError::Internal),
        Err(ToolError::Failed { words, .. }) if words.contains("unrecognised disk label") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes an empty table. One that is there, and a file system, are kept unless they are to be overwritten.
pub(super) async fn build(pool: &Pool, options: BuildOptions) -> Result<(), PoolError> {
    let device = device_of(pool).await?;
    let label = label_of(format(pool))?;
    if !options.overwrite {
        if let Some(table) = table_of(&device).await? {
            return Err(PoolError::State(if table.label == label {
                format!("Disk label already formatted using '{}'", word_of(&table.label))
            } else {
                "Known, but different label format present, requires build --overwrite".to_owned()
            }));
        }
        super::empty::require(&device, word_of(label)).await?;
    }
    tool("parted").arg("--script").arg(&device).args(["mklabel", label]).run().await?;
    settle_devices().await;
    Ok(())
}

/// `parted`'s word for a label, of libvirt's.
fn label_of(format: &str) -> Result<&str, PoolError> {
    match format {
        "unknown" | "dos" | "" => Ok("msdos"),
        "lvm2" => Err(PoolError::Config("a disk pool of format 'lvm2' cannot be built".to_owned())),
        word => Ok(word),
    }
}

/// libvirt's word for a label, of `parted`'s.
fn word_of(label: &str) -> &str {
    if label == "msdos" { "dos" } else { label }
}

/// There must be a device with a table on it.
pub(super) async fn start(pool: &Pool) -> Result<(), PoolError> {
    settle_devices().await;
    let device = device_of(pool).await?;
    match table_of(&device).await? {
        Some(_) => Ok(()),
        None => Err(PoolError::Clash("Unrecognized disk label found, requires build".to_owned())),
    }
}

pub(super) async fn look(pool: &Pool, known: Volumes) -> Result<Seen, PoolError> {
    settle_devices().await;
    let device = device_of(pool).await?;
    let table = table_of(&device).await?;
    let table = table.ok_or_else(|| {
        PoolError::Clash(format!("device '{}' has no partition table any more", device.display()))
    })?;
    let dir = dir_of(pool)?;
    let separator = separator_of(pool);
    off_thread(move || Ok(see(&device, &dir, separator.as_deref(), &table, &known))).await
}

/// The document's word on the `p` before a partition's number.
fn separator_of(pool: &Pool) -> Option<String> {
    pool.source.as_deref()?.devices.first()?.part_separator.clone()
}

fn see(device: &Path, dir: &Path, separator: Option<&str>, table: &Table, known: &Volumes) -> Seen {
    let mut volumes = Volumes::new();
    for part in &table.parts {
        let node = plan::node_of(&real(device), separator, part.number);
        let Some(name) = node.file_name().and_then(|name| name.to_str()) else { continue };
        let path = stable(dir, &node);
        let mut volume = match scan::look_at_device(&path, name) {
            Ok(Some(volume)) => volume,
            Ok(None) => {
                tracing::debug!(path = %path.display(), "partition without a device left out");
                continue;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "partition left out");
                continue;
            }
        };
        let extent = Extent { start: part.start, end: part.end };
        // The device of an extended partition is a stub.
        if part.kind == PartKind::Extended {
            (volume.capacity, volume.physical) = (part.end - part.start, part.end - part.start);
            volume.allocation = table.parts_of(PartKind::Logical).map(|part| part.end - part.start).sum();
        }
        let extents = vec![ExtentOf { device: device.display().to_string(), extent }];
        // What it was made for is nowhere on the device: it is known for as long as it is the same partition.
        let before = known.get(name).and_then(|known| known.block.as_ref());
        let format = before.filter(|block| block.extents == extents).and_then(|block| block.format.clone());
        let format = format.unwrap_or_else(|| FORMAT_UNKNOWN.to_owned());
        volume.block = Some(BlockFacts { key: None, format: Some(format), extents, part: Some(part.number) });
        volumes.insert(name.to_owned(), std::sync::Arc::new(volume));
    }
    Seen {
        room: room(table),
        owner: None,
        volumes,
        free: table.free.iter().map(|free| free.extent).collect(),
    }
}

/// What partitions have counts as taken; an extended one is only what is in it.
fn room(table: &Table) -> Room {
    let available: u64 = table.free.iter().map(|free| free.extent.end - free.extent.start).sum();
    let taken = table.parts.iter().filter(|part| part.kind != PartKind::Extended);
    Room { capacity: table.size, available, allocation: taken.map(|part| part.end - part.start).sum() }
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The name a partition has in the pool's directory (a link in `/dev/disk/by-path`), or its node.
fn stable(dir: &Path, node: &Path) -> PathBuf {
    if node.parent() == Some(dir) || !dir.starts_with("/dev") || dir == Path::new("/dev") {
        return node.to_owned();
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries.filter(|path| real(path) == node).collect();
    found.sort();
    found.into_iter().next().unwrap_or_else(|| node.to_owned())
}
